"""The way to the public Python API.

Owns its late import: what only reads a file, or explains itself, loads none of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from shoal.client import Client, RunHandle

    Begin: TypeAlias = Callable[[Client], Awaitable[RunHandle]]
    """Starts a run or takes one up."""


def connect() -> AbstractAsyncContextManager[Client]:
    """Return the client of this process's settings; leaving the context parks the runs that it drives."""
    from shoal import client

    return client.connect()
