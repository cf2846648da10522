"""Who is alive on this host: a file lock for each owner, held for the life of its process.

Owns the folder of lock files. The kernel gives a lock up when its process ends, however it ends; process ids are never
looked at, since they are given out again. See ADR 0004.
"""

from __future__ import annotations

import fcntl
import os
import re
import weakref
from pathlib import Path
from typing import Final

from shoal.errors import ConflictError, StoreUnavailableError
from shoal.model.ids import OwnerId

_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


class OwnerLocks:
    """The lock files of the owners of one journal."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made by the first registration."""
        self._folder = folder
        self._held: dict[OwnerId, int] = {}
        _here.add(self)

    def register(self, owner: OwnerId) -> None:
        """Hold the lock of an owner until `close` or the end of this process. Idempotent.

        Raises:
            ConflictError: Another process, or another store object of this one, holds it.
        """
        if owner in self._held:
            return
        path = self._path(owner)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _same_file(handle, path):
                        break
                except BaseException:
                    os.close(handle)
                    raise
                os.close(handle)  # a clean-up removed the file between its opening and its locking
        except BlockingIOError as error:
            raise ConflictError(f"the owner {owner} is alive elsewhere; every process needs an owner id of its own") from error
        except OSError as error:
            raise StoreUnavailableError(f"the lock file {path} cannot be held: {error}") from error
        self._held[owner] = handle

    def alive(self, owner: OwnerId) -> bool:
        """Return whether a process holds the lock of an owner; the file of a dead one is removed."""
        if owner in self._held:
            return True
        path = self._path(owner)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreUnavailableError(f"the lock file {path} cannot be looked at: {error}") from error
        try:
            # Shared: two processes that look at the same time must not take each other for the owner.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _same_file(handle, path):
                path.unlink(missing_ok=True)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def sweep(self) -> bool:
        """Remove the files of dead owners; return whether any other is alive."""
        owners = [OwnerId(path.stem) for path in self._folder.glob("*.lock") if _OWNER.match(path.stem)]
        return any([self.alive(owner) for owner in owners])  # noqa: C419 - all are looked at

    def close(self) -> None:
        """Give up all locks held here. Idempotent."""
        while self._held:
            owner, handle = self._held.popitem()
            self._path(owner).unlink(missing_ok=True)
            os.close(handle)

    def forget(self) -> None:
        """Close the files without giving up the locks: for a fork, whose parent goes on holding them."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _path(self, owner: OwnerId) -> Path:
        if not _OWNER.match(owner):
            raise ConflictError(f"{owner!r} is not an owner id: letters, digits, '-' and '_', at most 64")
        return self._folder / f"{owner}.lock"


def _same_file(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


_here: weakref.WeakSet[OwnerLocks] = weakref.WeakSet()


def _forget_all() -> None:
    for locks in list(_here):
        locks.forget()


# A lock lives as long as any copy of its file handle: a fork that outlives its parent would keep the parent's runs.
os.register_at_fork(after_in_child=_forget_all)
