"""Whether Ray still lives.

Owns a cheap look at the control service of the cluster while attempts are under way: a driver's calls do not fail when it
is gone, they wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from shoal.errors import RayUnavailableError

_PERIOD: Final = 1.0
_MISSES: Final = 3


class Pulse:
    """Looks every second whether the control service accepts connections.

    Args:
        address: `host:port`.
        busy: Whether anybody waits for Ray.
        lost: Called once, after three misses in a row.
    """

    def __init__(self, *, address: str, busy: Callable[[], bool], lost: Callable[[RayUnavailableError], None]) -> None:
        self._address: Final = address
        self._busy: Final = busy
        self._lost: Final = lost
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop looking. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        misses = 0
        while misses < _MISSES:
            await asyncio.sleep(_PERIOD)
            misses = 0 if not self._busy() or await self._answers() else misses + 1
        self._lost(
            RayUnavailableError(
                f"Ray at {self._address} is gone; attempts under way are lost", hint="resume the run once Ray is back"
            )
        )

    async def _answers(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            async with asyncio.timeout(_PERIOD):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True
