"""The builds of one process that are under way.

Owns that several callers who want one environment wait for one build, that builds ahead of their use are bounded, and what
became of those that nobody has asked for yet.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final

from shoal.errors import InfrastructureError, ShoalError
from shoal.model.tools import BuiltEnvironment

AHEAD: Final = 2
"""Builds ahead of their use at once."""

Key = tuple[str, str | None]
"""Digest of a lock, and the node."""

Build = Callable[[], Awaitable[BuiltEnvironment]]


@dataclasses.dataclass(slots=True)
class _Work:
    """A build under way.

    Attributes:
        claimed: Whether it is somebody's own already: to whoever comes later the environment was there.
    """

    task: asyncio.Future[BuiltEnvironment]
    claimed: bool = False


class BuildsUnderway:
    """Builds of one process by lock and node. Each event loop has its own; a build goes on when its caller is cancelled."""

    def __init__(self) -> None:
        """Begin with none."""
        self._works: dict[Key, _Work] = {}
        self._failures: dict[Key, ShoalError] = {}
        self._room: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def wait(self, key: Key, build: Build) -> BuiltEnvironment:
        """Return what a build makes: the one under way, or a new one. Raises what it raises, also if it failed ahead."""
        if (failure := self._failures.pop(key, None)) is not None:
            raise failure
        work = self._work(key, build)
        first = not work.claimed
        work.claimed = True
        built = await asyncio.shield(work.task)
        return built if first else dataclasses.replace(built, seconds=0.0, reused=True)

    async def ahead(self, key: Key, build: Build) -> None:
        """Build for later, once there is room; what goes wrong is kept for the next `wait`."""
        async with self._semaphore():
            if key in self._failures:
                return
            work = self._work(key, build)
            try:
                await asyncio.shield(work.task)
            except InfrastructureError:
                return  # it may have passed when the environment is needed
            except ShoalError as error:
                if not work.claimed:
                    self._failures[key] = error

    def _semaphore(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._room is None or self._room[0] is not loop:
            self._room = (loop, asyncio.Semaphore(AHEAD))
        return self._room[1]

    def _work(self, key: Key, build: Build) -> _Work:
        work = self._works.get(key)
        if work is None or work.task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.ensure_future(build())
            work = self._works[key] = _Work(task)
            task.add_done_callback(lambda done: self._end(key, done))
        return work

    def _end(self, key: Key, done: asyncio.Future[BuiltEnvironment]) -> None:
        work = self._works.get(key)
        if work is not None and work.task is done:
            del self._works[key]
        if not done.cancelled():
            done.exception()  # whoever waits has it; if nobody does any more, it is no defect of the loop's
