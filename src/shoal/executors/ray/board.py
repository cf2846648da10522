"""What the workers of this host and their orchestrator tell each other without asking: files in a folder.

Owns the folder. A worker says there which attempt it carries: a tool that holds the interpreter's lock stops every thread of
its worker, also those of Ray that should end it; then the orchestrator finds the process here and ends it by itself. The
orchestrator says there which attempts are canceled, and which batches a worker may begin that were sent before the last one
was answered. Workers on other hosts do not see the folder: there the mailbox and Ray's own means are left.

The folder is private to the user (0700); what is in it are names that Shoal made.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from shoal.executors import process_tree
from shoal.executors.ray.folders import own_folder
from shoal.model.ids import AttemptId

_WIDTH: Final = 64


class Board:
    """The orchestrator's side. The folder is removed by `close`."""

    def __init__(self) -> None:
        """Make the folder, and remove those that killed orchestrators left."""
        self._folder: Final = str(own_folder("shoal-board-", Path(tempfile.gettempdir())))
        for part in ("flags", "tickets"):
            Path(self._folder, part).mkdir()

    @property
    def folder(self) -> str:
        """The folder, for the workers."""
        return self._folder

    def carried_by(self, pid: int) -> AttemptId | None:
        """Return the attempt that a worker of this host carries, or carried when it died; None: none."""
        return self._entry(pid)[0]

    def _entry(self, pid: int) -> tuple[AttemptId | None, float]:
        try:
            entry = Path(self._folder, str(pid)).read_bytes().rstrip(b"\0").decode("ascii", "replace")
            name, _, began = entry.partition(" ")
            return (AttemptId(name), float(began)) if name else (None, 0.0)
        except (OSError, ValueError):
            return None, 0.0

    def carried(self) -> dict[AttemptId, float]:
        """Return the attempts that workers of this host carry, or died with, and the monotonic times of their beginnings."""
        entries = (self._entry(int(file.name)) for file in Path(self._folder).iterdir() if file.name.isdigit())
        return {name: at for name, at in entries if name is not None}

    def began(self, attempt: AttemptId) -> float | None:
        """Return the monotonic time at which a worker of this host began the attempt that it carries, or died with."""
        return self.carried().get(attempt)

    def kill(self, attempt: AttemptId) -> bool:
        """End the worker of an attempt and all below it; whether there was one on this host."""
        for file in Path(self._folder).iterdir():
            if file.name.isdigit() and self.carried_by(int(file.name)) == attempt:
                pid = int(file.name)
                process_tree.kill([*process_tree.descendants(pid), pid])
                return True
        return False

    def flag(self, attempt: AttemptId, grace: float) -> None:
        """Keep workers from beginning an attempt; one that runs has so many seconds from now."""
        # The monotonic clock is one for all processes of a host.
        _write(f"{self._folder}/flags/{attempt}", repr(time.monotonic() + grace).encode())

    def unflag(self, attempt: AttemptId) -> None:
        """Forget a flag that is no longer needed."""
        _remove(f"{self._folder}/flags/{attempt}")

    def issue(self, ticket: str) -> None:
        """Let a worker begin the batch of a ticket, until it is revoked."""
        _write(f"{self._folder}/tickets/{ticket}", b"")

    def revoke(self, ticket: str) -> bool:
        """Take a ticket back; false: its worker was faster."""
        return _remove(f"{self._folder}/tickets/{ticket}")

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Place:
    """A worker's entry. To say what it carries costs no system call."""

    def __init__(self, folder: str) -> None:
        self._folder: Final = folder
        self._map: mmap.mmap | None = None
        if not folder:
            return
        try:
            with Path(folder, str(os.getpid())).open("w+b") as file:
                file.truncate(_WIDTH)
                self._map = mmap.mmap(file.fileno(), _WIDTH)
        except OSError:
            pass  # another host, or an orchestrator that is gone

    @property
    def visible(self) -> bool:
        """Whether the orchestrator sees this worker's entry."""
        return self._map is not None

    def take(self, attempt: AttemptId) -> None:
        """Say which attempt this process carries from now on, and since when."""
        if self._map is not None:
            # The monotonic clock is one for all processes of a host.
            self._map[:_WIDTH] = f"{attempt} {time.monotonic():.3f}".encode()[:_WIDTH].ljust(_WIDTH, b"\0")

    def leave(self) -> None:
        """Say that it carries none."""
        if self._map is not None:
            self._map[:_WIDTH] = bytes(_WIDTH)

    def is_flagged(self, attempt: AttemptId) -> bool:
        """Whether an attempt is canceled."""
        return os.path.exists(f"{self._folder}/flags/{attempt}")  # noqa: PTH110 - before every call: a Path costs more

    def grace(self, attempt: AttemptId) -> float | None:
        """Return the seconds that an attempt has left, if it is canceled."""
        try:
            with open(f"{self._folder}/flags/{attempt}", "rb") as file:  # noqa: PTH123 - several times a second
                return max(0.0, float(file.read()) - time.monotonic())
        except (OSError, ValueError):
            return None  # none, or one that is being written: the next look finds it

    def claim(self, ticket: str) -> bool:
        """Take a ticket; false: the orchestrator has taken it back. Of the two exactly one gets it."""
        return _remove(f"{self._folder}/tickets/{ticket}")


def _write(path: str, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)
    except OSError:
        pass  # a full disk: a flag then comes by the mailbox, a ticket counts as revoked


def _remove(path: str) -> bool:
    try:
        os.unlink(path)  # noqa: PTH108 - for every batch: a Path costs more
    except OSError:
        return False
    return True
