"""What an attempt had let out before something of it was sent.

A report that was not acknowledged in time is sent again although it may have arrived; by its place in the whole the receiver
tells what it has already.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Before:
    """The place of a notice or completion among all that an attempt lets out.

    Attributes:
        notices: Notices that went before it.
        logs: Bytes of its log that went before it.
        dropped: Bytes over the log's limit that were counted before it.
    """

    notices: int = 0
    logs: int = 0
    dropped: int = 0


class Received:
    """What has arrived of one attempt."""

    def __init__(self) -> None:
        self.notices = 0
        self._logs = 0
        self._dropped = 0

    def fresh(self, before: Before, logs: bytes, dropped: int) -> tuple[bytes, int]:
        """Return what is new of a log's piece and of the count of dropped bytes."""
        new = logs[max(0, self._logs - before.logs) :]
        more = max(0, before.dropped + dropped - self._dropped)
        self._logs = max(self._logs, before.logs + len(logs))
        self._dropped += more
        return new, more
