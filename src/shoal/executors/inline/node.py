"""Functions on this host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class InlineNodeRunner:
    """The `NodeRunner` of a host without Ray: a thread of this process."""

    async def run_on_node(self, function: Callable[..., T], /, *args: object, node: str | None = None) -> T:  # noqa: ARG002
        """Run a function in a thread, whatever node is named; cancelling the caller does not stop it."""
        return await asyncio.to_thread(function, *args)

    def here(self) -> str | None:
        """Return None: there is one node."""
        return None
