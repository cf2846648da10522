"""The tools that come with Shoal. Those that reach the host are off unless a run's policy allows them."""

from shoal.tools.builtins.catalog import BUILTINS, HOST_TOOLS

__all__ = ["BUILTINS", "HOST_TOOLS"]
