"""Waiting for changes of a store.

Owns the mark that `RunStore.wait` hands out: it rises with each change made here, and with each that a look at the outside
finds. All waiters of a process share the looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.25
"""Seconds between two looks for changes by other processes."""


class Doorbell:
    """A counter of changes that can be waited for, on one event loop at a time."""

    def __init__(self, look: Callable[[], int] | None = None) -> None:
        """Start at a mark of 1.

        Args:
            look: Returns a number that differs after changes made elsewhere; None: there are none.
        """
        self._look = look
        self._seen = look() if look else 0
        self._looked_at = float("-inf")
        self._mark = 1
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Tell of a change; on the loop's thread."""
        self._mark += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, since: int | None, timeout: float) -> int:
        """Return the mark once it is not `since` any more, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            self._look_outside(loop.time())
            left = until - loop.time()
            if since != self._mark or left <= 0:
                return self._mark
            if self._look is not None:
                left = min(left, max(0.0, self._looked_at + INTERVAL - loop.time()))
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            try:
                await asyncio.wait((future,), timeout=left)
            finally:
                self._waiting.discard(future)

    def _look_outside(self, now: float) -> None:
        if self._look is None or 0 <= now - self._looked_at < INTERVAL:
            return
        self._looked_at = now
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self.ring()
