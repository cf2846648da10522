"""The command line, over the public Python API."""
