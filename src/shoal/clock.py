"""The real clock. Owns every look at the time outside of the stores."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time and monotonic time of this machine."""

    longest_sleep = 30.0

    def now(self) -> datetime:
        """Return wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep without holding up the loop."""
        await asyncio.sleep(seconds)
