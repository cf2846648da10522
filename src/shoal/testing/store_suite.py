"""The promises of `RunStore`, as tests that every store passes.

Subclass `RunStoreSuite` in a test module of your own and give it stores; pytest collects the tests from the subclass:

    class TestMyStore(RunStoreSuite):
        @pytest.fixture
        def store(self, clock, tmp_path):
            store = MyStore(tmp_path, now=clock.now)
            yield store
            store.close()

        @pytest.fixture
        def other(self, store, clock, tmp_path):
            store = MyStore(tmp_path, now=clock.now)
            yield store
            store.close()

`store` and `other` are two objects on one empty journal, as two processes have them; closing one ends the owners that it
registered. Both take their time from `clock`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shoal.ports import RunStore
from shoal.testing.store_leases import InboxCases, LeaseCases, RetentionCases
from shoal.testing.store_records import CommitCases, ReadingCases

__all__ = ["RunStoreSuite", "SettableClock"]


class SettableClock:
    """Wall time that stands still until a test moves it."""

    def __init__(self) -> None:
        """Start at noon of some day."""
        self._now = datetime(2030, 6, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on."""
        self._now += by


class RunStoreSuite(CommitCases, ReadingCases, LeaseCases, InboxCases, RetentionCases):
    """What every `RunStore` does; see the module for how to use it."""

    @pytest.fixture
    def clock(self) -> SettableClock:
        """Return the clock of both stores."""
        return SettableClock()

    @pytest.fixture
    def store(self, clock: SettableClock) -> Iterator[RunStore]:
        """Yield a store on an empty journal."""
        raise NotImplementedError

    @pytest.fixture
    def other(self, store: RunStore, clock: SettableClock) -> Iterator[RunStore]:
        """Yield another store object on the same journal."""
        raise NotImplementedError
