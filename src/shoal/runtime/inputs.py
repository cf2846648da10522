"""The inputs of an orchestrator and the tasks that make them.

Owns the queue, the bell that wakes the turn, and the one place where a failure of a task becomes the orchestrator's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from shoal.errors import InternalError, ShoalError
from shoal.runtime.driven import Driven

_log = structlog.get_logger("shoal.runtime")

Input = Callable[[], Driven | None]
"""Hands one input to the engine of a run; returns the run that it changed."""


class Inputs:
    """A queue of inputs and the tasks behind it. Belongs to one event loop."""

    def __init__(self, give_up: Callable[[ShoalError], None], blame: Callable[[Driven, Exception], None]) -> None:
        """Call `give_up` with the error of a task that broke, or `blame` if the task belongs to a run."""
        self._give_up = give_up
        self._blame = blame
        self._queue: deque[tuple[Driven | None, Input]] = deque()
        self._bell = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Wake the turn, for changes that were left with a run."""
        self._bell.set()

    def ring_in(self, seconds: float) -> None:
        """Wake the turn in a while."""
        asyncio.get_running_loop().call_later(seconds, self._bell.set)

    def post(self, work: Input, run: Driven | None = None) -> None:
        """Queue an input; if it breaks it is `run` that fails, or the orchestrator if there is none."""
        self._queue.append((run, work))
        self._bell.set()

    async def wait(self) -> None:
        """Return once there is something to do."""
        await self._bell.wait()
        self._bell.clear()

    def pop(self) -> tuple[Driven | None, Input] | None:
        """Return the next input; None if there is none."""
        return self._queue.popleft() if self._queue else None

    def spawn(self, work: Awaitable[None], run: Driven | None = None) -> None:
        """Run a task; what it raises ends its run, or else the orchestrator, so that nobody waits for a run for ever."""

        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - a defect must not hang whoever waits for a run
                if run is not None:
                    self._blame(run, error)
                elif isinstance(error, ShoalError):
                    self._give_up(error)
                else:
                    _log.error("the orchestrator broke", error=repr(error))
                    self._give_up(InternalError(f"the orchestrator broke: {error!r}"))

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all tasks and wait for them."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
