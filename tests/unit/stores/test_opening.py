"""Which store a URL means."""

import pytest

from shoal.errors import InvalidInputError
from shoal.stores.blobs import FileBlobStore
from shoal.stores.logs import FileLogStore
from shoal.stores.memory import MemoryRunStore
from shoal.stores.opening import open_blobs, open_logs, open_store
from shoal.stores.remote_blobs import FsspecBlobStore


def test_memory_and_sqlite_are_opened(tmp_path):
    assert isinstance(open_store("memory://"), MemoryRunStore)
    store = open_store(f"sqlite:///{tmp_path}/j.db")
    assert (tmp_path / "j.db").exists()
    store.close()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///relative.db", "postgresql://host/db", "/path", "sqlite:/x"])
def test_anything_else_is_refused(url):
    with pytest.raises(InvalidInputError, match="sqlite:////absolute"):
        open_store(url)


def test_blobs_and_logs_by_their_place(tmp_path):
    assert open_blobs(str(tmp_path)) == open_blobs(f"file://{tmp_path}") == FileBlobStore(str(tmp_path))
    assert open_blobs("s3://bucket/x") == FsspecBlobStore("s3://bucket/x")
    assert open_logs(str(tmp_path)) == FileLogStore(str(tmp_path))
