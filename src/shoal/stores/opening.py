"""Stores by their URL.

Owns which adapter a URL means; the composition root knows no other module of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from shoal.errors import InvalidInputError
from shoal.ports import BlobStore, LogStore, RunStore


def open_store(url: str, *, now: Callable[[], datetime] | None = None) -> RunStore:
    """Open the journal of a URL: `sqlite:///` and an absolute path, or `memory://`.

    Args:
        url: The URL.
        now: Tells the time, in UTC; None: the machine's clock.

    Raises:
        InvalidInputError: The URL names no store of this version.
        StoreUnavailableError: The journal cannot be used; the message says why and what to do.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        from shoal.stores.memory import MemoryRunStore

        return MemoryRunStore(now=now)
    path = Path(rest.removeprefix("/")) if scheme == "sqlite" and rest.startswith("/") else None
    if path is None or not path.is_absolute():
        raise InvalidInputError(f"{url!r} names no store", hint="use sqlite:////absolute/path/journal.db")
    from shoal.stores.sqlite.store import SqliteRunStore

    return SqliteRunStore(path, now=now)


def open_blobs(place: str) -> BlobStore:
    """Open the blobs of a folder, a `file://` or other fsspec URL, or `memory://`, which is of this process only."""
    scheme, separator, rest = place.partition("://")
    if not separator or scheme == "file":
        from shoal.stores.blobs import FileBlobStore

        return FileBlobStore(str(Path(rest if separator else place).absolute()))
    if place == "memory://":
        from shoal.stores.memory_files import MemoryBlobStore

        return MemoryBlobStore()
    from shoal.stores.remote_blobs import FsspecBlobStore

    return FsspecBlobStore(place)


def open_logs(place: str) -> LogStore:
    """Open the logs of a folder, or `memory://`, which is of this process only."""
    if place == "memory://":
        from shoal.stores.memory_files import MemoryLogStore

        return MemoryLogStore()
    from shoal.stores.logs import FileLogStore

    return FileLogStore(str(Path(place).absolute()))
