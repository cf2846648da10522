"""Every store of Shoal keeps the promises of `RunStore`."""

import pytest

from shoal.stores.memory import MemoryRunStore
from shoal.testing.store_suite import RunStoreSuite


class TestMemoryRunStore(RunStoreSuite):
    @pytest.fixture
    def store(self, clock):
        return MemoryRunStore(now=clock.now)

    @pytest.fixture
    def other(self, store):
        return store.peer()


class TestSqliteRunStore(RunStoreSuite):
    @pytest.fixture
    def store(self, clock, tmp_path):
        from shoal.stores.sqlite.store import SqliteRunStore

        store = SqliteRunStore(tmp_path / "journal.db", now=clock.now)
        yield store
        store.close()

    @pytest.fixture
    def other(self, store, clock, tmp_path):
        from shoal.stores.sqlite.store import SqliteRunStore

        other = SqliteRunStore(tmp_path / "journal.db", now=clock.now)
        yield other
        other.close()
