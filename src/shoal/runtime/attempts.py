"""Attempts on their way to the executor and back: held, submitted, canceled, completed; their logs and progress."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog

from shoal.engine.effects import Dispatch
from shoal.errors import (
    AttemptInterruptedError,
    InfrastructureError,
    RunCanceledError,
    ShoalError,
    StoreUnavailableError,
    WorkerLostError,
)
from shoal.faults import crash_point
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice
from shoal.model.ids import AttemptId, RunId, StepPath
from shoal.model.run import Progress, StepProgressed
from shoal.ports import LogStore, RunStore, StepExecutor
from shoal.runtime.dispatching import Dispatcher
from shoal.runtime.driven import Driven
from shoal.runtime.inputs import Inputs
from shoal.runtime.leases import LeaseKeeper

_log = structlog.get_logger("shoal.runtime")

PROGRESS_INTERVAL: Final = 0.5
"""Seconds between writes of tools' progress."""

_HELD_LOOK: Final = 0.25


class Attempts:
    """All attempts of an orchestrator that are under way.

    An attempt is known here from its dispatch to its completion; a completion of one that is not known is refused.
    """

    def __init__(
        self,
        executor: StepExecutor,
        logs: LogStore,
        store: RunStore,
        dispatcher: Dispatcher,
        leases: LeaseKeeper,
        inputs: Inputs,
    ) -> None:
        """Carry attempts by an executor, while the leases are safe; completions become inputs."""
        self._executor = executor
        self._logs = logs
        self._store = store
        self._dispatcher = dispatcher
        self._leases = leases
        self._inputs = inputs
        self._runs: dict[AttemptId, Driven] = {}
        self._submitted: set[AttemptId] = set()
        self._held: list[tuple[Driven, Dispatch]] = []
        self._progress: dict[tuple[RunId, StepPath], Progress] = {}
        self._progress_at = 0.0

    # ------------------------------------------------------------ out

    def dispatch(self, run: Driven, dispatch: Dispatch, calls: list[AttemptCall]) -> None:
        """Put the call of an attempt among `calls`, or make it once its environment stands; hold it while leases are unsafe."""
        if not self._leases.safe:
            self._held.append((run, dispatch))
            self._inputs.ring_in(_HELD_LOOK)
            return
        self._runs[dispatch.attempt_id] = run
        run.attempts[dispatch.attempt_id] = (dispatch.path, dispatch.number)
        try:
            call = self._dispatcher.call_now(run, dispatch)
        except ShoalError as error:
            self._fail(dispatch.attempt_id, error)
            return
        if call is None:
            self._inputs.spawn(self._dispatch_later(run, dispatch), run)
        else:
            calls.append(call)

    async def _dispatch_later(self, run: Driven, dispatch: Dispatch) -> None:
        try:
            call = await self._dispatcher.call(run, dispatch)
        except InfrastructureError:
            raise  # it is not the step's fault: the run is given back
        except ShoalError as error:
            self._fail(dispatch.attempt_id, error)
            return
        self.submit([call])

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Hand calls to the executor, but for those that were canceled meanwhile."""
        wanted = [call for call in calls if call.attempt_id in self._runs]
        if wanted:
            self._submitted.update(call.attempt_id for call in wanted)
            self._executor.submit(wanted)
            crash_point("dispatch.after")

    def release_held(self, runs: Mapping[RunId, Driven], calls: list[AttemptCall]) -> None:
        """Dispatch what was held back while the leases were not safe."""
        if not self._held or not self._leases.safe:
            return
        held, self._held = self._held, []
        for run, dispatch in held:
            if runs.get(run.id) is run:
                self.dispatch(run, dispatch, calls)

    # ------------------------------------------------------------ stopping

    def cancel(self, run: Driven, attempts: Sequence[AttemptId], grace: timedelta) -> None:
        """Set cancel flags; an attempt that was not submitted yet ends at once."""
        self._held = [(r, d) for r, d in self._held if d.attempt_id not in attempts]
        self._executor.cancel([a for a in attempts if a in self._submitted], grace=grace)
        for attempt in attempts:
            if attempt not in self._submitted:
                self._runs[attempt] = run
                self._fail(attempt, RunCanceledError("the attempt was canceled before it began"))

    def stop(self, run: Driven, grace: timedelta) -> None:
        """Cancel all attempts of a run that is given back, and dispatch nothing that was held for it."""
        self._held = [(r, d) for r, d in self._held if r is not run]
        self.cancel(run, tuple(run.attempts), grace)

    def forget(self, run: Driven) -> None:
        """End and forget all attempts of a run whose lease is gone; their results are refused."""
        self._held = [(r, d) for r, d in self._held if r is not run]
        stale = tuple(run.attempts)
        run.attempts.clear()
        for attempt in stale:
            self._runs.pop(attempt, None)
        if stale:
            self._executor.cancel(stale, grace=timedelta(0))

    # ------------------------------------------------------------ back

    async def hear_completions(self) -> None:
        """Take completions for ever; to be run as a task."""
        while True:
            for completion in await self._executor.completions():
                self._complete(completion)

    async def hear_notices(self) -> None:
        """Take notices for ever; to be run as a task."""
        while True:
            for notice in await self._executor.notices():
                self._notice(notice)
            self._inputs.ring()

    def _fail(self, attempt: AttemptId, error: ShoalError) -> None:
        self._complete(Completion(attempt, Failed(error, retryable=error.retryable)))

    def _complete(self, completion: Completion) -> None:
        self._submitted.discard(completion.attempt_id)
        run = self._runs.pop(completion.attempt_id, None)
        if run is not None:
            self._inputs.post(lambda: self._completed(run, completion), run)

    def _completed(self, run: Driven, completion: Completion) -> Driven | None:
        where = run.attempts.pop(completion.attempt_id, None)
        if where is not None:
            self._log_of(run, where, completion.logs, completion.logs_dropped)
        if run.engine is None:
            return None
        outcome = completion.outcome
        if isinstance(outcome, Failed) and isinstance(outcome.error, StoreUnavailableError):
            raise outcome.error  # it is not the step's fault: the run is given back, and the step runs again
        if run.root.parking and isinstance(outcome, Failed) and isinstance(outcome.error, RunCanceledError | WorkerLostError):
            outcome = Failed(AttemptInterruptedError("the owner of the run stopped", step=where[0] if where else None))
        run.engine.attempt_ended(completion.attempt_id, outcome, self._store.now(), node=completion.node)
        return run

    def _notice(self, notice: Notice) -> None:
        run = self._runs.get(notice.attempt_id)
        where = run.attempts.get(notice.attempt_id) if run is not None else None
        if run is None or where is None:
            return
        self._log_of(run, where, notice.logs, notice.logs_dropped)
        if notice.progress is not None:
            self._progress[run.id, where[0]] = notice.progress

    def _log_of(self, run: Driven, where: tuple[StepPath, int], data: bytes, dropped: int) -> None:
        """Append to an attempt's log; a log that cannot be written ends no run."""
        if not data and not dropped:
            return
        try:
            self._logs.append(run.id, where[0], where[1], data, dropped=dropped)
        except (ShoalError, OSError) as error:
            _log.warning("a log could not be written", run=run.id, step=where[0], error=str(error))

    def leave_progress(self, runs: Mapping[RunId, Driven]) -> None:
        """Leave what tools reported with their runs, for the next commit; at most every `PROGRESS_INTERVAL`."""
        if not self._progress:
            return
        now = time.monotonic()
        wait = self._progress_at + PROGRESS_INTERVAL - now
        if wait > 0:
            self._inputs.ring_in(wait)
            return
        self._progress_at = now
        for (run_id, path), progress in self._progress.items():
            run = runs.get(run_id)
            if run is not None:
                run.pending.append(StepProgressed(path, progress))
        self._progress.clear()
