"""Answers of workers on their way to those who wait for them.

Owns the one hop from Ray's threads into the event loop: a single wake-up serves all answers that arrive before it looks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

Take = Callable[["Future[Any]"], None]

COALESCE: Final = 0.005
"""Seconds between two wake-ups of the loop while much is under way."""


class Arrivals:
    """Hands answers to those who wait for them, in the loop, in the order in which they came.

    Args:
        loop: Where they are handed over.
        busy: Whether so much is under way that waiting for more answers is worth `COALESCE`.
        after: Called once after each round.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, busy: Callable[[], bool], after: Callable[[], None]) -> None:
        self._loop: Final = loop
        self._busy: Final = busy
        self._after: Final = after
        self._arrived: Final[deque[Callable[[], None]]] = deque()
        self._waking = False
        self._collected = 0.0

    def watch(self, ref: Any, take: Take) -> None:
        """Call `take` with the answer of a Ray call once it is there."""
        ref.future().add_done_callback(partial(self._arrive, take))

    def arrived(self, take: Callable[[], None]) -> None:
        """Call `take` for an answer that has come by another way than Ray's; in the loop."""
        self._arrived.append(take)
        if not self._waking:
            self._waking = True
            self._wake()

    def _arrive(self, take: Take, future: Future[Any]) -> None:
        """Take an answer, in Ray's thread."""
        self._arrived.append(partial(take, future))
        if not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

    def _wake(self) -> None:
        pause = self._collected + COALESCE - time.monotonic() if self._busy() else 0.0
        if pause > 0:
            self._loop.call_later(pause, self._collect)
        else:
            self._collect()

    def _collect(self) -> None:
        self._collected = time.monotonic()
        self._waking = False
        while self._arrived:
            self._arrived.popleft()()
        self._after()
