"""Durable workflows and agents on Ray.

The names below load on first use (PEP 562), so that a tool package that imports `shoal` loads neither Ray nor SQL.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.client import Client, RunHandle, RunView, connect
    from shoal.errors import (
        ConflictError,
        DefinitionError,
        InfrastructureError,
        NonRetryableError,
        NotFoundError,
        RunError,
        ShoalError,
        StepFailedError,
    )
    from shoal.tools import ToolContext, continuation, current_context, tool

__version__ = "0.1.0.dev0"

_HOMES = {
    "Client": "shoal.client",
    "RunHandle": "shoal.client",
    "RunView": "shoal.client",
    "connect": "shoal.client",
    "ToolContext": "shoal.tools",
    "continuation": "shoal.tools",
    "current_context": "shoal.tools",
    "tool": "shoal.tools",
    "ConflictError": "shoal.errors",
    "DefinitionError": "shoal.errors",
    "InfrastructureError": "shoal.errors",
    "NonRetryableError": "shoal.errors",
    "NotFoundError": "shoal.errors",
    "RunError": "shoal.errors",
    "ShoalError": "shoal.errors",
    "StepFailedError": "shoal.errors",
}

__all__ = [
    "Client",
    "ConflictError",
    "DefinitionError",
    "InfrastructureError",
    "NonRetryableError",
    "NotFoundError",
    "RunError",
    "RunHandle",
    "RunView",
    "ShoalError",
    "StepFailedError",
    "ToolContext",
    "__version__",
    "connect",
    "continuation",
    "current_context",
    "tool",
]


def __getattr__(name: str) -> object:
    """Load a public name on its first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
