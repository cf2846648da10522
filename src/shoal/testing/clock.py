"""A clock that goes only when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Wall time and monotonic time that stand still until `advance`; they never jump apart."""

    longest_sleep = float("inf")

    def __init__(self, start: datetime = START) -> None:
        """Begin at a time, in UTC."""
        self._start = start
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the start plus what was advanced."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds that were advanced."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Return once that much was advanced."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + seconds, next(self._order), future))
        await future

    def next_in(self) -> float | None:
        """Return in how many seconds the next sleeper wakes; None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return max(0.0, self._sleepers[0][0] - self._passed) if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake who has slept enough; the loop runs them afterwards."""
        self._passed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._passed + 1e-9:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
