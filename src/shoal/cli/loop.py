"""The event loop of a command, and what signals do to it.

Owns SIGINT and SIGTERM: the first stops the command in order within `STOP_WITHIN` seconds, the second at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any

from shoal.cli.failures import INTERRUPTED
from shoal.cli.terminal import note

if TYPE_CHECKING:
    import asyncio  # late: `--help`, `validate` and `schema` have no loop, and it is a tenth of their time

STOP_WITHIN = 4.8
"""Seconds that an orderly stop may take; it is promised in 5."""


class Interrupts:
    """The signals of one command.

    The handlers are Python's own and not the loop's, because a loop that is busy inside `ray.init` would answer late; so
    the second Ctrl-C works whatever the loop does, and a thread of its own keeps the deadline of the first.

    Attributes:
        hit: Whether a signal came.
        advice: How to go on after an interruption; shown with it.
    """

    def __init__(self) -> None:
        self.hit = False
        self.advice: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def arm(self) -> None:
        """Take the signals for the running task. To be called again after anything that may have set handlers (Ray does)."""
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)

    def tell(self) -> None:
        """Say that the command was interrupted, and how to go on."""
        note("\nInterrupted." + (f" {self.advice}" if self.advice else ""))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.hit:
            os._exit(INTERRUPTED)
        self.hit = True
        watch = threading.Timer(STOP_WITHIN, self._too_late)
        watch.daemon = True
        watch.start()
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _too_late(self) -> None:
        self.tell()
        os._exit(INTERRUPTED)


def carry_out(work: Callable[[Interrupts], Coroutine[Any, Any, int]]) -> int:
    """Run a command's coroutine to its end and return the exit status: its own, or 130 after a signal.

    A signal cancels the coroutine once; what it does on its way out has `STOP_WITHIN` seconds.
    """
    import asyncio

    interrupts = Interrupts()

    async def main() -> int:
        interrupts.arm()
        try:
            return await work(interrupts)
        except asyncio.CancelledError:
            if not interrupts.hit:
                raise
            interrupts.tell()
            return INTERRUPTED

    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return asyncio.run(main())
    finally:
        if not interrupts.hit and threading.current_thread() is threading.main_thread():
            for number, handler in old.items():
                signal.signal(number, handler)
