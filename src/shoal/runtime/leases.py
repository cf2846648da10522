"""Keeping leases: renewal from a thread of its own, so that a busy loop does not lose a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from shoal.model.ids import OwnerId
from shoal.ports import LEASE_RENEWAL, LEASE_TTL, RunStore

SAFETY: Final = 2.0
"""Seconds before the expiry of its leases at which an owner that could not renew stops dispatching."""


_log = structlog.get_logger("shoal.runtime")


def _boot_time() -> float:
    """Return monotonic seconds that go on while the machine sleeps, where it tells them: leases run out meanwhile."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseKeeper:
    """Renews the leases of an owner every `LEASE_RENEWAL`."""

    def __init__(self, store: RunStore, owner: OwnerId, monotonic: Callable[[], float] | None = None) -> None:
        """Keep the leases that an owner has, or will have, in a store."""
        self._store = store
        self._owner = owner
        self._monotonic = monotonic or _boot_time
        self._renewed = self._monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="shoal-leases", daemon=True)

    def start(self) -> None:
        """Begin renewing."""
        self._renewed = self._monotonic()
        self._thread.start()

    @property
    def safe(self) -> bool:
        """Whether the leases are certain to hold for `SAFETY` seconds more; nothing is dispatched while they are not."""
        return self._monotonic() - self._renewed < LEASE_TTL.total_seconds() - SAFETY

    def _keep(self) -> None:
        while not self._stop.wait(LEASE_RENEWAL.total_seconds()):
            before = self._monotonic()
            try:
                self._store.renew(self._owner)
            except Exception as error:  # noqa: BLE001 - the thread must go on; `safe` tells, the next commit says why
                _log.warning("leases could not be renewed", error=str(error))
                continue
            self._renewed = before

    def end(self) -> None:
        """Renew no more; leases are left to expire or be released."""
        self._stop.set()

    def stop(self) -> None:
        """Renew no more, and wait for the thread."""
        self.end()
        if self._thread.is_alive():
            self._thread.join()
