"""`sys.stdout` and `sys.stderr` that go to the log of the attempt whose context is current, and to the real ones otherwise.

Owns the two streams while any inline executor is open. Output of C code and of child processes is not seen here: only a
worker of its own can catch that.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

from shoal.executors.logs import LogBuffer, LogHandler

_current: Final[ContextVar[LogBuffer | None]] = ContextVar("shoal_log", default=None)


class _Routed:
    """A text stream that asks the context where to write; everything but writing is the real stream's."""

    def __init__(self, real: TextIO) -> None:
        self._real: Final = real

    @property
    def real(self) -> TextIO:
        return self._real

    def write(self, text: str) -> int:
        buffer = _current.get()
        if buffer is None:
            return self._real.write(text)
        buffer.write(text.encode(errors="backslashreplace"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _current.get() is None:
            self._real.flush()

    def isatty(self) -> bool:
        return _current.get() is None and self._real.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _RoutedHandler(logging.Handler):
    """Writes records of the current attempt's context to its log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        buffer = _current.get()
        if buffer is not None:
            LogHandler(buffer).emit(record)


class _Streams:
    """Installs the streams for the first user and takes them out after the last."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._users = 0
        self._handler: Final = _RoutedHandler(logging.INFO)

    def install(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                sys.stdout = cast("TextIO", _Routed(sys.stdout))
                sys.stderr = cast("TextIO", _Routed(sys.stderr))
                logging.getLogger().addHandler(self._handler)

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            logging.getLogger().removeHandler(self._handler)
            # Someone may have replaced the streams since; theirs stay.
            out, err = cast("object", sys.stdout), cast("object", sys.stderr)
            if isinstance(out, _Routed):
                sys.stdout = out.real
            if isinstance(err, _Routed):
                sys.stderr = err.real


_streams: Final = _Streams()
install = _streams.install
remove = _streams.remove


@contextmanager
def captured(buffer: LogBuffer) -> Generator[None, None, None]:
    """Send what this thread, and what its context is handed on to, prints and logs to a buffer."""
    token = _current.set(buffer)
    try:
        yield
    finally:
        _current.reset(token)
