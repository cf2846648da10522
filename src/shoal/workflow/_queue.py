"""How many workflows run at a time, and how many may wait for their turn."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Awaitable, Callable

from shoal.model.ids import RunId


class Turns:
    """The runs that are driven here, and those that wait. Belongs to one event loop."""

    def __init__(self, running: int | None, pending: int | None) -> None:
        """Set the limits; None: there is none."""
        self._limit = running
        self._room = pending
        self._running: set[RunId] = set()
        self._waiting: deque[tuple[RunId, Callable[[], Awaitable[None]]]] = deque()

    def must_wait(self, run_id: RunId) -> bool:
        """Return whether a run has to wait for its turn.

        Raises:
            queue.Full: It has to, and there is no room left.
        """
        if self._limit is None or len(self._running) < self._limit or run_id in self._running:
            return False
        if self._room is not None and len(self._waiting) >= self._room:
            raise queue.Full("Workflow queue has been full")
        return True

    def is_here(self, run_id: RunId) -> bool:
        """Return whether a run has a turn here, or waits for one."""
        return run_id in self._running or any(run_id == waiting for waiting, _ in self._waiting)

    def enter(self, run_id: RunId) -> None:
        """Take a turn."""
        self._running.add(run_id)

    def line_up(self, run_id: RunId, begin: Callable[[], Awaitable[None]]) -> None:
        """Wait for a turn; `begin` is called when it comes."""
        self._waiting.append((run_id, begin))

    def give_up(self, run_id: RunId) -> None:
        """Let a run that waits do so no more."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != run_id)

    def forget(self, run_id: RunId) -> None:
        """Give a turn back that was not used; called while turns are given out."""
        self._running.discard(run_id)

    async def leave(self, run_id: RunId) -> None:
        """Give a turn back, and let the next ones begin."""
        self._running.discard(run_id)
        while self._waiting and (self._limit is None or len(self._running) < self._limit):
            following, begin = self._waiting.popleft()
            self._running.add(following)
            await begin()
