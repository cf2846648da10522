"""The thread of a worker that looks after the attempt in its main thread.

Owns what must go on while a tool runs, whatever the tool does: its output is read, its time-out, its cancel flag's grace
and its memory limit are kept. An attempt that has to end takes the worker's process along, children first.
"""

from __future__ import annotations

import faulthandler
import os
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shoal.errors import OutOfMemoryError
from shoal.executors import process_tree
from shoal.executors.attempt import QUIET, Attempt, where
from shoal.executors.capture import Capture
from shoal.model.attempts import Failed, Outcome

_TICK: Final = 0.05
_MEMORY_TICK: Final = 0.25
_LAST_RESORT: Final = 1.5
"""Seconds after its end at which an attempt that this thread could not end is ended without it."""

_LINGER: Final = 2.0
"""Seconds after the last attempt until the thread sleeps for good: waking it costs more than a tick."""


@dataclass(slots=True)
class Guard:
    """How one attempt is looked after.

    Attributes:
        slack: Seconds added to every deadline, for an attempt whose child process is ended by others first.
        memory: Bytes that the attempt may add to its process and the processes below it; None: no limit.
    """

    attempt: Attempt
    capture: Capture
    slack: float = 0.0
    memory: int | None = None
    baseline: int = 0
    watched: bool = False
    next_look: float = field(default_factory=time.monotonic)

    def outgrown(self) -> bool:
        """Whether the attempt holds more memory than it may; looks a few times a second at most."""
        now = time.monotonic()
        if self.memory is None or now < self.next_look:
            return False
        self.next_look = now + _MEMORY_TICK
        return held() - self.baseline > self.memory


def held() -> int:
    """Return the bytes held by this process and all below it."""
    pid = os.getpid()
    return process_tree.private_memory([pid, *process_tree.descendants(pid)])


def outgrew(attempt: Attempt, limit: int) -> Failed:
    """Return the outcome of an attempt that outgrew its memory."""
    call = attempt.call
    message = f"{where(call)} outgrew its memory of {limit:,} bytes"
    return Failed(OutOfMemoryError(message, run_id=call.run_id, step=call.path, hint="raise resources.memory"))


class Watch:
    """The watching thread of a worker; it is started with the first attempt and lives as long as the process.

    Args:
        tell: Called a few times a second for an attempt that is no longer young; must not block.
        condemn: Called with what an attempt that has to end comes to; does not return.
    """

    def __init__(self, *, tell: Callable[[Attempt], None], condemn: Callable[[Attempt, Outcome], None]) -> None:
        self._tell: Final = tell
        self._condemn: Final = condemn
        self._selector: Final = selectors.DefaultSelector()
        self._guard: Guard | None = None
        self._lock: Final = threading.Lock()
        self._active_at = 0.0
        self._parked = False
        self._wake_reader, self._wake_writer = os.pipe()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._started = False

    def begin(self, guard: Guard) -> None:
        """Look after an attempt from now on; its capture begins."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="shoal-watch", daemon=True).start()
        if guard.memory is not None:
            guard.baseline = held()
        guard.capture.begin()
        self._arm(guard)
        self._active_at = time.monotonic()
        self._guard = guard
        if self._parked:
            os.write(self._wake_writer, b"x")

    def end(self) -> None:
        """Let go of the attempt; all that it printed is in its log."""
        with self._lock:
            guard, self._guard = self._guard, None
            if guard is not None and guard.watched:
                self._selector.unregister(guard.capture.reader)
        if guard is not None:
            if guard.attempt.call.timeout is not None:
                faulthandler.cancel_dump_traceback_later()
            guard.capture.end()

    def _arm(self, guard: Guard) -> None:
        """Let C code end the process if the tool holds the interpreter's lock past its end, so that no thread can run."""
        end = guard.attempt.kill_at
        if end is not None:
            after = end - time.monotonic() + guard.slack + _LAST_RESORT
            faulthandler.dump_traceback_later(after, exit=True, file=self._wake_writer)

    def _run(self) -> None:
        while True:
            # Parked before the last look at the guard: an attempt that begins in between writes a wake-up.
            self._parked = time.monotonic() - self._active_at > _LINGER
            for key, _ in self._selector.select(_TICK if self._guard or not self._parked else None):
                if isinstance(key.data, Capture):
                    key.data.drain()
                else:
                    os.read(self._wake_reader, 64)
            guard = self._guard
            if guard is not None:
                self._active_at = time.monotonic()
                self._look(guard)

    def _look(self, guard: Guard) -> None:
        if not guard.watched:
            # Not before the first tick: a short attempt's output waits in the pipe, and wakes nobody.
            with self._lock:
                if self._guard is guard:
                    self._selector.register(guard.capture.reader, selectors.EVENT_READ, guard.capture)
                    guard.watched = True
        attempt, now = guard.attempt, time.monotonic()
        end = attempt.kill_at
        if end is not None and now >= end + guard.slack:
            self._condemn(attempt, attempt.outran() if attempt.timed_out else attempt.stopped())
        if guard.memory is not None and guard.outgrown() and guard is self._guard:
            self._condemn(attempt, outgrew(attempt, guard.memory))
        if now - attempt.began >= QUIET:
            self._tell(attempt)
