"""Which worker of this host carries which attempt, known without asking the worker.

Owns a folder with a small mapped file for each worker. A tool that holds the interpreter's lock stops every thread of its
worker, also those of Ray that should end it; then the orchestrator finds the process here and ends it by itself. Workers on
other hosts do not see the folder: there nothing but Ray's own means is left.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from shoal.executors import process_tree
from shoal.model.ids import AttemptId

_WIDTH: Final = 64


class Board:
    """The orchestrator's side. The folder is removed by `close`."""

    def __init__(self) -> None:
        self._folder: Final = tempfile.mkdtemp(prefix="shoal-board-")

    @property
    def folder(self) -> str:
        """The folder, for the workers."""
        return self._folder

    def kill(self, attempt: AttemptId) -> bool:
        """End the worker of an attempt and all below it; whether there was one on this host."""
        wanted = attempt.encode()
        for file in Path(self._folder).iterdir():
            try:
                carries = file.read_bytes().rstrip(b"\0") == wanted
            except OSError:
                continue
            if carries:
                pid = int(file.name)
                process_tree.kill([*process_tree.descendants(pid), pid])
                return True
        return False

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Place:
    """A worker's entry. Writing to it costs no system call."""

    def __init__(self, folder: str) -> None:
        self._map: mmap.mmap | None = None
        try:
            with Path(folder, str(os.getpid())).open("w+b") as file:
                file.truncate(_WIDTH)
                self._map = mmap.mmap(file.fileno(), _WIDTH)
        except OSError:
            pass  # another host, or an orchestrator that is gone

    def take(self, attempt: AttemptId) -> None:
        """Say which attempt this process carries from now on."""
        if self._map is not None:
            self._map[:_WIDTH] = attempt.encode()[:_WIDTH].ljust(_WIDTH, b"\0")

    def leave(self) -> None:
        """Say that it carries none."""
        if self._map is not None:
            self._map[0] = 0
