"""The command line, over the public Python API."""

from shoal.cli.app import main

__all__ = ["main"]
