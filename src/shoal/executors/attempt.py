"""One attempt under way: its flags, times and log, and what its end means.

Owns the judgement that is the same wherever an attempt runs: what a cancel flag and a time-out make of an outcome. Knows no
processes and no Ray.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from shoal.errors import InternalError, RunCanceledError, StepFailedError, StepTimeoutError
from shoal.executors.before import Before
from shoal.executors.logs import LogBuffer
from shoal.executors.masking import Mask
from shoal.executors.surroundings import invalid_variable
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice, Outcome
from shoal.model.run import Progress
from shoal.ports import AttemptControl

QUIET: Final = 0.2
"""Seconds from an attempt's start to its first notice, and between two: a shorter one's log comes with its completion."""


def where(call: AttemptCall) -> str:
    """Return how messages name an attempt."""
    return f"attempt {call.number} of step {call.path}"


class Attempt:
    """The state of an attempt in the process that carries it. Every method may be called from any thread.

    Attributes:
        call: What is carried out.
        log: What it prints.
        began: Monotonic time of its start.
        started_at: Wall time of its start.
        told: Notices given out and not taken back.

    A notice is delivered once it is acknowledged; until then `take_back` or the completion takes what it carried in again, so
    that nothing is lost with a mailbox that is slow or gone. Its receiver tells by `Before` what it has already.
    """

    def __init__(self, call: AttemptCall) -> None:
        self.call: Final = call
        self.mask: Final = Mask(call.secrets.values())
        self.log: Final = LogBuffer(self.mask)
        self.began: Final = time.monotonic()
        self.started_at: Final = datetime.now(UTC)
        self._canceled = False
        self._seen = False
        self._notice_at = self.began + QUIET
        self._told = False
        self.told = 0
        self._unacknowledged: Notice | None = None
        self._delivery: Final = threading.Lock()
        self._progress: Progress | None = None
        self._kill_at: float | None = None

    # ------------------------------------------------------------ flags

    @property
    def control(self) -> AttemptControl:
        """What the tool may reach."""
        return AttemptControl(report=self.report, canceled=self._look)

    def report(self, progress: Progress) -> None:
        """Keep the last progress."""
        self._progress = self.mask.progress(progress)

    def _look(self) -> bool:
        flag = self._canceled or self.timed_out
        self._seen |= flag
        return flag

    def see(self) -> None:
        """Note that the tool was told of its flag by other ways than `control`."""
        self._seen = True

    def cancel(self, grace: float) -> None:
        """Set the cancel flag; a second call may only bring the end nearer.

        Args:
            grace: Seconds from now until the attempt is ended.
        """
        self._canceled = True
        end = time.monotonic() + grace
        self._kill_at = end if self._kill_at is None else min(self._kill_at, end)

    @property
    def canceled(self) -> bool:
        """Whether its cancel flag was set by a request."""
        return self._canceled

    @property
    def timed_out(self) -> bool:
        """Whether it has run for longer than its time-out."""
        timeout = self.call.timeout
        return timeout is not None and time.monotonic() - self.began >= timeout.total_seconds()

    @property
    def kill_at(self) -> float | None:
        """Monotonic time at which it is ended if it has not yielded; None: never."""
        ends = [self._kill_at] if self._kill_at is not None else []
        if self.call.timeout is not None:
            ends.append(self.began + (self.call.timeout + self.call.grace).total_seconds())
        return min(ends, default=None)

    # ------------------------------------------------------------ what it lets out

    def notice(self) -> tuple[Notice, Before] | None:
        """Return what there is to tell since the last one; None: nothing, or too soon after the start or the last one.

        It is to be acknowledged or taken back before the next one is asked for.
        """
        now = time.monotonic()
        if now < self._notice_at:
            return None
        with self._delivery:
            before = Before(self.told, *self.log.given)
            logs, dropped = self.log.take()
            progress, self._progress = self._progress, None
            if self._told and progress is None and not logs and not dropped:
                return None
            started = None if self._told else self.started_at
            self._notice_at = now + QUIET
            self._told = True
            self.told += 1
            notice = self._unacknowledged = Notice(self.call.attempt_id, started, progress, logs, dropped)
        return notice, before

    def acknowledge(self, notice: Notice) -> None:
        """Note that a notice has arrived; what it carried is not told again."""
        with self._delivery:
            if self._unacknowledged is notice:
                self._unacknowledged = None

    def take_back(self, notice: Notice) -> None:
        """Keep what a notice carried that could not be delivered; it goes with the next one or the completion."""
        with self._delivery:
            if self._unacknowledged is notice:
                self._keep(notice)

    def _keep(self, notice: Notice) -> None:
        self._unacknowledged = None
        self.told -= 1
        self._told = self._told and notice.started_at is None
        self._progress = self._progress or notice.progress
        self.log.put_back(notice.logs, notice.logs_dropped)

    def completion(self, outcome: Outcome, *, node: str = "") -> tuple[Completion, Before]:
        """Return the end of the attempt; `outcome` is taken as it is, its secrets masked."""
        with self._delivery:
            if self._unacknowledged is not None:
                self._keep(self._unacknowledged)
            before = Before(self.told, *self.log.given)
            logs, dropped = self.log.take(last=True)
        finished = datetime.now(UTC)
        masked = self.mask.outcome(outcome)
        return Completion(self.call.attempt_id, masked, self.started_at, finished, logs, dropped, node), before

    # ------------------------------------------------------------ judgement

    def invoke(self, invoke: Callable[[AttemptCall, AttemptControl], Outcome]) -> Outcome:
        """Carry the attempt out in this thread and return what its end means. Never raises."""
        bad = invalid_variable(self.call.env)
        if bad is not None:
            failed = self.failed(f"its `env` has a variable {bad!r} that cannot be set", exception="ValueError")
            return replace(failed, retryable=False)
        try:
            outcome = invoke(self.call, self.control)
        except SystemExit as error:
            outcome = self.failed(f"the tool ended itself with sys.exit({error.code!r})", exception="SystemExit")
        except KeyboardInterrupt:
            outcome = self.failed("the tool raised KeyboardInterrupt", exception="KeyboardInterrupt")
        except BaseException as error:  # noqa: BLE001 - an invoker must not raise; the attempt still has to end
            message = f"{where(self.call)} could not be carried out: {type(error).__name__}: {error}"
            outcome = Failed(InternalError(message), retryable=False)
        return self.judged(outcome)

    def judged(self, outcome: Outcome) -> Outcome:
        """Return what an outcome means now that the attempt has ended.

        Past its time-out every end is a time-out. After a cancel a failure is the cancel's, and so is the result of a tool
        that has looked at its flag: it may be a partial one. A result that came without such a look stands.
        """
        if self.timed_out:
            return self.outran()
        if self._canceled and (self._seen or isinstance(outcome, Failed)):
            return self.stopped()
        return outcome

    def failed(self, message: str, *, exception: str) -> Failed:
        """Return a failure that is the tool's own."""
        error = StepFailedError(
            f"{where(self.call)}: {message}", run_id=self.call.run_id, step=self.call.path, exception=exception
        )
        return Failed(error, exception_names=(exception,))

    def outran(self) -> Failed:
        """Return the outcome of an attempt that outran its time-out."""
        return outran(self.call)

    def stopped(self) -> Failed:
        """Return the outcome of an attempt that ended because of its cancel flag."""
        return stopped(self.call)


def outran(call: AttemptCall) -> Failed:
    """Return the outcome of an attempt that outran its time-out."""
    seconds = call.timeout.total_seconds() if call.timeout else 0.0
    message = f"{where(call)} outran its timeout of {seconds:g} s"
    return Failed(StepTimeoutError(message, run_id=call.run_id, step=call.path))


def stopped(call: AttemptCall) -> Failed:
    """Return the outcome of an attempt that yielded to its cancel flag or was ended for it."""
    return Failed(RunCanceledError(f"{where(call)} was canceled", run_id=call.run_id, step=call.path), retryable=False)


def unstarted(call: AttemptCall, outcome: Failed) -> Completion:
    """Return the completion of an attempt of which no worker has told anything."""
    return Completion(call.attempt_id, replace(outcome, error=Mask(call.secrets.values()).error(outcome.error)))
