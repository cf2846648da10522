"""The names of the built-in tools. Owns which of them reach the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from shoal.tools.builtins.http import http
from shoal.tools.builtins.python import python
from shoal.tools.builtins.shell import shell

BUILTINS: Final[Mapping[str, Callable[..., Any]]] = {"http": http, "python": python, "shell": shell}
"""Every built-in tool by its name."""

HOST_TOOLS: Final = frozenset(BUILTINS)
"""The built-ins that run only if the policy of the run allows it."""
