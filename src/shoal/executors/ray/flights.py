"""Attempts under way, and what their ends mean.

Owns that each attempt submitted is completed exactly once: by what its worker answered, by what it announced before it ended
itself, or by a judgement over Ray's error. Later ends of the same attempt are refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from shoal.errors import RayUnavailableError
from shoal.executors.attempt import outran, stopped, unstarted
from shoal.executors.before import Before, Received
from shoal.executors.order import absorb
from shoal.executors.outbox import Outbox
from shoal.executors.ray import judgement
from shoal.executors.ray.flight import Flight
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice
from shoal.model.ids import AttemptId

_SETTLE: Final = 1.0
"""Seconds that a judgement waits for what a worker may have told the mailbox before it ended."""

_ARRIVAL: Final = 5.0
"""Seconds that an end waits for notices that the mailbox acknowledged; it has them, unless it was lost since."""

SLACK: Final = 1.0
"""Seconds that a worker gets, after the grace, to end itself and say so, before Ray ends it."""

_GIVE_UP: Final = 10.0
"""Seconds after which an attempt that Ray was told to end counts as ended, whatever Ray says."""


class Ends(Protocol):
    """What the executor does as attempts go on and end."""

    def landed(self, flight: Flight, completion: Completion) -> None:
        """Note the end of an attempt."""
        ...

    def lost(self, flight: Flight) -> None:
        """Note that an attempt's worker was lost, through no request of ours."""
        ...

    def is_long(self, flight: Flight) -> None:
        """Note that an attempt has told something: it is no short one."""
        ...

    def kill(self, attempt: AttemptId) -> None:
        """End the process of an attempt that Ray could not end."""
        ...

    def began(self, attempt: AttemptId) -> float | None:
        """Return the monotonic time at which a worker of this host began an attempt; None: it is not known."""
        ...


class Flights:
    """The attempts of an executor that are under way. Lives in its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ends: Ends) -> None:
        """Tell `ends` what becomes of them."""
        self.under_way: Final[dict[AttemptId, Flight]] = {}
        self.completions: Final[Outbox[Completion]] = Outbox()
        self.notices: Final[Outbox[Notice]] = Outbox()
        self._loop: Final = loop
        self._ends: Final = ends
        self._round: list[Completion] = []

    def begin(self, call: AttemptCall) -> Flight:
        """Take an attempt in."""
        flight = self.under_way[call.attempt_id] = Flight(call)
        return flight

    # ------------------------------------------------------------ ends

    def done(self, completion: Completion, before: Before) -> None:
        """Take what a worker answered; it ends the attempt once all of its notices are here, or late."""
        flight = self.under_way.get(completion.attempt_id)
        if flight is None:
            return
        heard = flight.received.notices if flight.received is not None else 0
        if heard >= before.notices:
            self.finish(flight, completion, before)
        else:
            if flight.batch is not None:
                flight.batch.flights.pop(completion.attempt_id, None)  # what is left in a batch is carried again
            flight.end = (completion, before)
            self._loop.call_later(_ARRIVAL, self.finish, flight, completion, before)

    def stopped(self, flight: Flight) -> None:
        """End an attempt that was canceled before it began."""
        self.finish(flight, unstarted(flight.call, stopped(flight.call)))

    def broken(self, flight: Flight, error: BaseException) -> None:
        """End an attempt for which Ray has an error; a worker that ended itself may have said why."""
        if judgement.is_ray_gone(error):
            self.cut_off()
        elif flight.doom is not None:
            self.finish(flight, *flight.doom)
        elif judgement.is_lost(error):
            flight.lost = error
            self._loop.call_later(_SETTLE, self._judge, flight, error)
        else:
            self._judge(flight, error)

    def finish(self, flight: Flight, completion: Completion, before: Before | None = None) -> None:
        """Complete an attempt; every later end of it is refused.

        Args:
            flight: The attempt.
            completion: Its end.
            before: What its worker had let out before; None: the end is not its worker's.
        """
        if self.under_way.pop(completion.attempt_id, None) is None:
            return
        flight.dropped = True
        if flight.received is not None:
            if before is not None:
                logs, dropped = flight.received.fresh(before, completion.logs, completion.logs_dropped)
                completion = replace(completion, logs=logs, logs_dropped=dropped)
            completion = absorb(completion, self.notices)
        self._ends.landed(flight, completion)
        if not self._round:
            self._loop.call_soon(self.flush)
        self._round.append(completion)

    def flush(self) -> None:
        """Give out what has ended since the last time."""
        ended, self._round = self._round, []
        self.completions.put(ended)

    def fail(self, error: RayUnavailableError) -> None:
        """Let everybody who waits for an end or a notice get this error."""
        self.completions.fail(error)
        self.notices.fail(error)

    def cut_off(self) -> None:
        """Give up: Ray's process on this host has died. No worker is started any more, although those that live may answer."""
        hint = "resume the run: that starts another Ray"
        self.fail(RayUnavailableError("Ray on this host has died; attempts under way are lost", hint=hint))

    def _judge(self, flight: Flight, error: BaseException) -> None:
        if self.under_way.get(flight.call.attempt_id) is not flight:
            return
        outcome = judgement.verdict(flight.call, error)
        lost = judgement.is_lost(error)
        if flight.canceled and lost:
            outcome = stopped(flight.call)
        elif flight.overdue or (lost and self._must_have_outrun(flight)):
            outcome = outran(flight.call)
        elif lost:
            self._ends.lost(flight)
        self.finish(flight, _without_worker(flight, outcome))

    def _must_have_outrun(self, flight: Flight) -> bool:
        """Whether a lost worker was most likely ended by its own last resort against tools that stop every thread.

        Such a tool lets no notice out; any other that ran as long as this one did would have.
        """
        call = flight.call
        if call.timeout is None or flight.started is not None:
            return False
        began = self._ends.began(call.attempt_id)
        return began is not None and time.monotonic() - began >= (call.timeout + call.grace).total_seconds()

    # ------------------------------------------------------------ what workers tell

    def noticed(self, notice: Notice, before: Before) -> None:
        """Take a notice; one that was not acknowledged in time comes again, with more."""
        flight = self.under_way.get(notice.attempt_id)
        if flight is None:
            return
        received = flight.received = flight.received or Received()
        logs, dropped = received.fresh(before, notice.logs, notice.logs_dropped)
        received.notices = max(received.notices, before.notices + 1)
        first = notice.started_at is not None and flight.started_at is None
        if notice.started_at is not None and first:
            self._started(flight, notice.started_at)
        started = notice.started_at if first else None
        self.notices.put([replace(notice, started_at=started, logs=logs, logs_dropped=dropped)])
        if flight.end is not None and received.notices >= flight.end[1].notices:
            self.finish(flight, *flight.end)

    def doomed(self, completion: Completion, before: Before) -> None:
        """Keep what a worker said before it ended itself; it counts once the worker is gone."""
        flight = self.under_way.get(completion.attempt_id)
        if flight is None:
            return
        flight.doom = (completion, before)
        if flight.lost is not None:
            self.finish(flight, completion, before)
        else:
            self._loop.call_later(_SETTLE + SLACK, self.finish, flight, completion, before)

    def _started(self, flight: Flight, at: datetime) -> None:
        flight.started, flight.started_at = time.monotonic(), at
        self._ends.is_long(flight)
        call = flight.call
        if call.timeout is not None:
            # The second line: the worker ends itself, unless its threads are held up too.
            after = (call.timeout + call.grace).total_seconds() + SLACK
            self._loop.call_later(after, self._overdue, flight)

    # ------------------------------------------------------------ force

    def look(self, carried: Mapping[AttemptId, float]) -> None:
        """End what has outrun its time-out in a worker that tells nothing at all, stopped as a whole.

        Args:
            carried: Since when, by the monotonic clock, workers of this host carry which attempts.
        """
        now = time.monotonic()
        for attempt, began in carried.items():
            flight = self.under_way.get(attempt)
            if flight is None or flight.call.timeout is None or flight.forced:
                continue
            if now - began > (flight.call.timeout + flight.call.grace).total_seconds() + SLACK:
                self._overdue(flight)

    def _overdue(self, flight: Flight) -> None:
        flight.overdue = True
        self.force([flight])

    def force(self, flights: Sequence[Flight]) -> None:
        """End the workers of attempts that are still under way."""
        for flight in flights:
            alive = self.under_way.get(flight.call.attempt_id) is flight and not flight.forced
            if alive and flight.carrier is not None:
                flight.forced = True
                flight.carrier.end(flight)
                self._loop.call_later(SLACK, self.kill, flight)
                outcome = outran(flight.call) if flight.overdue else stopped(flight.call)
                self._loop.call_later(_GIVE_UP, self.finish, flight, _without_worker(flight, outcome))

    def kill(self, flight: Flight) -> None:
        """End a worker that Ray could not end: its tool holds the interpreter's lock."""
        if self.under_way.get(flight.call.attempt_id) is flight:
            self._ends.kill(flight.call.attempt_id)


def _without_worker(flight: Flight, outcome: Failed) -> Completion:
    completion = unstarted(flight.call, outcome)
    return Completion(completion.attempt_id, completion.outcome, flight.started_at, datetime.now(UTC))
