"""Blobs as files of a local folder.

Owns the layout: `FOLDER/ab/abcdef...`, one file for each content, never changed. Nothing but 64 hexadecimal digits becomes
part of a path, and no symbolic link is followed below the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shoal.errors import NotFoundError, StoreUnavailableError
from shoal.faults import crash_point
from shoal.model.encoding import digest_of
from shoal.model.ids import Digest

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_TEMPORARY: Final = ".new-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_digest(digest: str) -> Digest:
    """Return a digest that is fit to be part of a path. Raises `NotFoundError` for anything else."""
    if not _DIGEST.fullmatch(digest):
        raise NotFoundError(f"{digest[:80]!r} is no digest of a blob", hint="64 hexadecimal digits, lower case")
    return Digest(digest)


def check_content(data: bytes, digest: Digest, where: str) -> bytes:
    """Return bytes that are what their digest says. Raises `StoreUnavailableError` if they are not."""
    if digest_of(data) != digest:
        raise StoreUnavailableError(
            f"the blob {digest} in {where} is damaged: it holds other bytes ({len(data)}) than were written",
            hint="put it back from a backup, or delete it and retry the run",
        )
    return data


@dataclass(frozen=True, slots=True)
class FileBlobStore:
    """A `BlobStore` in a folder that every process that uses it can reach.

    Attributes:
        folder: Absolute path; made on the first write.
    """

    folder: str

    def put(self, data: bytes) -> Digest:
        """See `BlobStore.put`; a blob that is there already is only touched, so that no sweep takes it."""
        digest = digest_of(data)
        try:
            with self._shard(digest) as shard:
                if _touch(shard, digest, len(data)):
                    os.fsync(shard)  # whoever wrote it may not have come to this yet
                else:
                    _write(shard, digest, data)
        except OSError as error:
            raise self._unavailable("written", error) from error
        return digest

    def get(self, digest: Digest) -> bytes:
        """See `BlobStore.get`."""
        name = check_digest(digest)
        try:
            shard = os.open(os.path.join(self.folder, name[:2]), _FOLDER)  # noqa: PTH118 - Path costs more than the read
            try:
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=shard)
            finally:
                os.close(shard)
            with os.fdopen(handle, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no blob {name} in {self.folder}") from error
        except OSError as error:
            raise self._unavailable("read", error) from error
        return check_content(data, name, self.folder)

    def path(self, digest: Digest) -> str | None:
        """See `BlobStore.path`."""
        name = check_digest(digest)
        path = os.path.join(self.folder, name[:2], name)  # noqa: PTH118
        try:
            return path if stat.S_ISREG(os.lstat(path).st_mode) else None
        except OSError:
            return None

    def sweep(self, referenced: frozenset[Digest], older_than: datetime, *, dry_run: bool = False) -> tuple[int, int]:
        """See `BlobStore.sweep`; abandoned temporary files of that age go too, and count."""
        count = size = 0
        limit = older_than.timestamp()
        try:
            for shard in self._shards():
                for name, length in _unused(shard, referenced, limit):
                    if not dry_run:
                        os.unlink(name, dir_fd=shard)
                    count, size = count + 1, size + length
        except OSError as error:
            raise self._unavailable("swept", error) from error
        return count, size

    @contextmanager
    def _shard(self, digest: Digest) -> Generator[int]:
        path = os.path.join(self.folder, digest[:2])  # noqa: PTH118
        try:
            shard = os.open(path, _FOLDER)
        except FileNotFoundError:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            _sync_folder(self.folder)
            shard = os.open(path, _FOLDER)
        try:
            _lock(shard, fcntl.LOCK_SH)
            yield shard
        finally:
            os.close(shard)

    def _shards(self) -> Iterator[int]:
        if not os.path.isdir(self.folder):  # noqa: PTH112
            return
        for name in sorted(os.listdir(self.folder)):  # noqa: PTH208
            if not _SHARD.fullmatch(name):
                continue
            with suppress(NotADirectoryError):
                shard = os.open(os.path.join(self.folder, name), _FOLDER)  # noqa: PTH118
                try:
                    _lock(shard, fcntl.LOCK_EX)
                    yield shard
                finally:
                    os.close(shard)

    def _unavailable(self, done: str, error: OSError) -> StoreUnavailableError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "the disk is full; make room, then resume" if full else "check that the folder is there and writable"
        return StoreUnavailableError(f"a blob in {self.folder} could not be {done}: {error.strerror or error}", hint=hint)


def _lock(shard: int, kind: int) -> None:
    """Keep a sweep out while a writer touches what it would delete; where there are no locks, age alone protects."""
    with suppress(OSError):
        fcntl.flock(shard, kind)


def _touch(shard: int, name: str, length: int) -> bool:
    try:
        found = os.stat(name, dir_fd=shard, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_size != length:
            return False
        os.utime(name, dir_fd=shard, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write(shard: int, name: str, data: bytes) -> None:
    temporary = _TEMPORARY + secrets.token_hex(8)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=shard)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        crash_point("blob.before_rename")
        os.rename(temporary, name, src_dir_fd=shard, dst_dir_fd=shard)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=shard)
        raise
    crash_point("blob.after_rename")
    os.fsync(shard)


def _unused(shard: int, referenced: frozenset[Digest], limit: float) -> Iterator[tuple[str, int]]:
    with os.scandir(shard) as entries:
        for entry in list(entries):
            ours = _DIGEST.fullmatch(entry.name) or entry.name.startswith(_TEMPORARY)
            if not ours or entry.name in referenced:
                continue
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < limit:
                    yield entry.name, found.st_size


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
