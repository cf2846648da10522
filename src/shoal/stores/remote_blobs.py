"""Blobs in shared storage that fsspec reaches: an object store, or a file server.

Owns the layout below a URL, which is that of `blobs`. A blob is as durable as what the far end acknowledges.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from shoal.errors import NotFoundError, StoreUnavailableError
from shoal.faults import crash_point
from shoal.model.encoding import digest_of
from shoal.model.ids import Digest
from shoal.stores.blobs import check_content, check_digest


@dataclass(frozen=True, slots=True)
class FsspecBlobStore:
    """A `BlobStore` below an fsspec URL. It pickles as the URL and connects on first use.

    A write is one request. Where that is not atomic a torn blob has the wrong size, and the next `put` writes it again;
    `get` would find it damaged, but no row names a blob whose `put` did not return.

    Attributes:
        url: Such as `s3://bucket/prefix`; credentials come from where fsspec's driver looks for them.
    """

    url: str

    def put(self, data: bytes) -> Digest:
        """See `BlobStore.put`."""
        digest = digest_of(data)
        with self._reached("written") as (files, root):
            path = _place(root, digest)
            if not self._touch(files, path, len(data)):
                crash_point("blob.before_rename")
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
                files.pipe_file(path, data)
                crash_point("blob.after_rename")
        return digest

    def get(self, digest: Digest) -> bytes:
        """See `BlobStore.get`."""
        name = check_digest(digest)
        with self._reached("read") as (files, root):
            try:
                data = cast("bytes", files.cat_file(_place(root, name)))
            except FileNotFoundError as error:
                raise NotFoundError(f"there is no blob {name} in {self.url}") from error
        return check_content(data, name, self.url)

    def path(self, digest: Digest) -> str | None:
        """Return None: the blob is elsewhere."""
        check_digest(digest)
        return None

    def sweep(self, referenced: frozenset[Digest], older_than: datetime, *, dry_run: bool = False) -> tuple[int, int]:
        """See `BlobStore.sweep`."""
        count = size = 0
        with self._reached("swept") as (files, root):
            try:
                found = cast("dict[str, dict[str, Any]]", files.find(root, detail=True))
            except FileNotFoundError:
                return 0, 0
            for path, info in sorted(found.items()):
                name = path.rpartition("/")[2]
                if name in referenced or path.rpartition("/")[0].rpartition("/")[2] != name[:2]:
                    continue
                if len(name) == len(digest_of(b"")) and files.modified(path).timestamp() < older_than.timestamp():
                    if not dry_run:
                        files.rm_file(path)
                    count, size = count + 1, size + int(info["size"] or 0)
        return count, size

    def _touch(self, files: Any, path: str, length: int) -> bool:
        try:
            if files.info(path)["size"] != length:
                return False
            files.touch(path, truncate=False)
        except (FileNotFoundError, NotImplementedError, ValueError):
            return False  # not there, or a store that can renew the time of a blob only by writing it anew
        return True

    @contextmanager
    def _reached(self, done: str) -> Generator[tuple[Any, str]]:
        try:
            import fsspec.core

            files, root = cast("Any", fsspec.core).url_to_fs(self.url)
            yield files, root
        except (OSError, ImportError, ValueError) as error:
            raise StoreUnavailableError(
                f"a blob in {self.url} could not be {done}: {error}",
                hint="check SHOAL_BLOBS, its driver's package and its credentials",
            ) from error


def _place(root: str, digest: Digest) -> str:
    return f"{root.rstrip('/')}/{digest[:2]}/{digest}"
