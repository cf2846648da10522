"""What an attempt prints, on its way to a notice or a completion.

Owns the limit of a log and the order of its bytes. Secrets are masked here, before anything leaves the process.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from shoal.executors.masking import Mask

LOG_LIMIT: Final = 10 * 1024 * 1024
"""Bytes kept of an attempt's log; what comes after is counted and dropped."""

RECORD_FORMAT: Final = "%(levelname)s %(name)s: %(message)s"


class LogBuffer:
    """The log of one attempt. Thread-safe; bytes come out in the order in which they were written."""

    def __init__(self, mask: Mask, *, limit: int = LOG_LIMIT) -> None:
        self._mask: Final = mask
        self._room = limit
        self._held = b""
        self._chunks: list[bytes] = []
        self._dropped = 0
        self._given = (0, 0)
        self._lock: Final = threading.Lock()

    def write(self, data: bytes) -> None:
        """Add bytes; over the limit they are only counted."""
        with self._lock:
            if not self._room:
                self._dropped += len(data)
                return
            shown, self._held = self._mask.split(self._held + data)
            self._keep(shown)

    def take(self, *, last: bool = False) -> tuple[bytes, int]:
        """Return what came since the last call, and how many bytes were dropped since then.

        Args:
            last: Also give out a held-back end that might have become a secret.
        """
        with self._lock:
            if last and self._held:
                self._keep(self._mask.whole(self._held))
                self._held = b""
            data, dropped = b"".join(self._chunks), self._dropped
            self._chunks.clear()
            self._dropped = 0
            self._given = (self._given[0] + len(data), self._given[1] + dropped)
            return data, dropped

    @property
    def given(self) -> tuple[int, int]:
        """Return how many bytes were given out and not put back, and how many dropped ones were told of."""
        return self._given

    def put_back(self, data: bytes, dropped: int) -> None:
        """Take back what `take` gave out and nobody received."""
        with self._lock:
            self._chunks.insert(0, data)
            self._dropped += dropped
            self._given = (self._given[0] - len(data), self._given[1] - dropped)

    def _keep(self, data: bytes) -> None:
        kept = data[: self._room]
        self._room -= len(kept)
        self._dropped += len(data) - len(kept)
        if kept:
            self._chunks.append(kept)


class LogHandler(logging.Handler):
    """Writes log records of the tool to its attempt's log."""

    def __init__(self, buffer: LogBuffer) -> None:
        super().__init__(logging.INFO)
        self._buffer: Final = buffer
        self.setFormatter(logging.Formatter(RECORD_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self._buffer.write((self.format(record) + "\n").encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001 - a record that does not format is the tool's, and must not end it
            self.handleError(record)
