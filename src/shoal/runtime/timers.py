"""Timers of all runs of an orchestrator: one heap, one task, nothing per step."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from shoal.ports import Clock


class Timers:
    """Calls back when times of the wall clock have come; waiting itself is monotonic."""

    def __init__(self, now: Callable[[], datetime], clock: Clock) -> None:
        """Use the store's time and a clock to wait with."""
        self._now = now
        self._clock = clock
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def call_at(self, at: datetime, callback: Callable[[], None]) -> None:
        """Call back once at a time, or at once if it has passed."""
        entry = (at, next(self._order), callback)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._changed.set()

    async def run(self) -> None:
        """Call back for ever; to be run as a task."""
        while True:
            self._changed.clear()
            now = self._now()
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
            if not self._heap:
                await self._changed.wait()
                continue
            wait = min((self._heap[0][0] - now).total_seconds(), self._clock.longest_sleep)
            sleeper = asyncio.ensure_future(self._clock.sleep(wait))
            waker = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait((sleeper, waker), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sleeper, waker):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
