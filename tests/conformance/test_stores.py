"""Every store of Shoal keeps the promises of its port."""

import fsspec
import pytest

from shoal.stores.memory import MemoryRunStore
from shoal.stores.opening import open_blobs, open_logs
from shoal.stores.remote_blobs import FsspecBlobStore
from shoal.testing.blob_suite import BlobStoreSuite
from shoal.testing.log_suite import LogStoreSuite
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


class TestMemoryBlobStore(BlobStoreSuite):
    travels = False

    @pytest.fixture
    def blobs(self):
        return open_blobs("memory://")


class TestFileBlobStore(BlobStoreSuite):
    @pytest.fixture
    def blobs(self, tmp_path):
        return open_blobs(str(tmp_path / "blobs"))

    @pytest.fixture
    def damage(self, tmp_path):
        return lambda digest: (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"PRECIOUS")


class TestFsspecBlobStoreOnFiles(BlobStoreSuite):
    @pytest.fixture
    def blobs(self, tmp_path):
        return FsspecBlobStore(f"file://{tmp_path}/blobs")

    @pytest.fixture
    def damage(self, tmp_path):
        return lambda digest: (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"PRECIOUS")


class TestFsspecBlobStoreInMemory(BlobStoreSuite):
    @pytest.fixture
    def blobs(self, tmp_path):
        yield FsspecBlobStore(f"memory://{tmp_path}")
        fsspec.filesystem("memory").store.clear()


class TestMemoryLogStore(LogStoreSuite):
    @pytest.fixture
    def logs(self):
        return open_logs("memory://")


class TestFileLogStore(LogStoreSuite):
    @pytest.fixture
    def logs(self, tmp_path):
        return open_logs(str(tmp_path / "logs"))
