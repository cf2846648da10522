"""File descriptors 1 and 2 of a worker, led into the log of the attempt that runs in it.

Owns the two descriptors between `begin` and `end`. So the output of C code and of child processes is caught too; a process
that the tool left behind writes into a closed pipe afterwards, never into the log of the next attempt.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import sys
import threading
from typing import Final

from shoal.executors.logs import RECORD_FORMAT, LogBuffer

_CHUNK: Final = 1 << 16

_PIPE: Final = 1 << 20
"""Bytes that a tool may print while it keeps the interpreter's lock to itself: nobody can read meanwhile. Linux gives an
ordinary user no larger pipe; beyond it such a tool waits until its time-out."""


class Capture:
    """One attempt's output, from `begin` to `end`. `drain` may be called from any thread, the others from the tool's."""

    def __init__(self, buffer: LogBuffer) -> None:
        self._buffer: Final = buffer
        self._lock: Final = threading.Lock()
        self._reader = -1

    def begin(self) -> None:
        """Redirect both descriptors."""
        _descriptors.keep()
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        _widen(writer)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(writer)

    @property
    def reader(self) -> int:
        """The descriptor to watch for something to `drain`."""
        return self._reader

    def drain(self) -> None:
        """Take what is in the pipe."""
        with self._lock:
            while self._reader >= 0:
                try:
                    data = os.read(self._reader, _CHUNK)
                except BlockingIOError:
                    return
                if not data:
                    return
                self._buffer.write(data)

    def end(self) -> None:
        """Put both descriptors back, take the rest, close the pipe, which nobody may watch any more."""
        _descriptors.flush()
        _descriptors.restore()
        self.drain()
        with self._lock:
            os.close(self._reader)
            self._reader = -1


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (OSError, AttributeError):
        pass  # not Linux, or this user has many pipes: it keeps the size it has


class _Descriptors:
    """The process's own 1 and 2, kept aside while an attempt has them."""

    def __init__(self) -> None:
        self._kept: tuple[int, int] | None = None
        self._libc: ctypes.PyDLL | None = None

    def keep(self) -> None:
        if self._kept is None:
            self._kept = (os.dup(1), os.dup(2))
            try:
                # PyDLL keeps the interpreter's lock: giving it away for a microsecond costs more than the flush.
                self._libc = ctypes.PyDLL(None)
            except OSError:
                pass  # no C library to flush: output of C code that stays in its buffers is late

    def restore(self) -> None:
        if self._kept is not None:
            os.dup2(self._kept[0], 1)
            os.dup2(self._kept[1], 2)

    def flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # the tool closed or replaced it
        if self._libc is not None:
            self._libc.fflush(None)


_descriptors: Final = _Descriptors()


class Records(logging.Handler):
    """A root handler of a worker that writes what is logged, from `INFO` on, to descriptor 2 while an attempt has it.

    So a record stands in the log where it was made, between what the tool printed before and after.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(RECORD_FORMAT))
        self.active = False

    def install(self) -> None:
        """Become a handler of the root logger, which from then on lets `INFO` pass."""
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if not self.active:
            return
        try:
            os.write(2, (self.format(record) + "\n").encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001 - a record that does not format is the tool's, and must not end it
            self.handleError(record)
