"""The engine of one run: inputs in, decisions out.

Owns the order in which follow-ups are worked off. Deterministic but for the ids and the jitter that it is given; no I/O but
reading immutable values through `Values`. The cost of an input grows with the dependents of its step, never with the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Final

from shoal.engine import children, loops, restoring, scopes, steps
from shoal.engine.continuations import plan_continuation
from shoal.engine.effects import Decision, SetTimer, TimerKind
from shoal.engine.ending import end
from shoal.engine.state import Phase, RunState, ScopeState, Stop, Todo, Values
from shoal.errors import ExpressionError, InvalidInputError, ShoalError, StepFailedError, StepTimeoutError
from shoal.model.attempts import Continued, Failed, Outcome, Succeeded
from shoal.model.ids import AttemptId, RunId, StepPath, new_attempt_id, new_run_id
from shoal.model.policies import Resources
from shoal.model.run import (
    AttemptOutcome,
    CancelCommand,
    CancelRecorded,
    InboxEntry,
    InboxHandled,
    Progress,
    RunChanged,
    RunSnapshot,
    RunStatus,
    SignalCommand,
    StepProgressed,
    StepStatus,
)
from shoal.model.tools import ToolOptions, ToolReference
from shoal.model.values import Result
from shoal.model.workflow import RunWorkflow

WINDOW: Final = 1024
"""Attempts of a run that may be under way without a limit of its own, or twice the worker slots if that is more: what could
not run anyway waits here as a step, for the tenth of the memory."""


class RunEngine:
    """Decides for one run. Inputs change the state in memory; `decide` returns what to commit, and then to do.

    An input and its decision belong together: if the changes cannot be committed, the engine is thrown away and made anew
    from the journal.
    """

    def __init__(
        self,
        snapshot: RunSnapshot,
        now: datetime,
        *,
        values: Values,
        slots: Callable[[Resources], int],
        automatic: bool = False,
        reopen: bool = False,
        random: Random | None = None,
        attempt_ids: Callable[[], AttemptId] = new_attempt_id,
        run_ids: Callable[[], RunId] = new_run_id,
    ) -> None:
        """Take up a run where its journal stands: a new one, one under way, or (`reopen`) one that has ended.

        Args:
            snapshot: What the journal holds; its inbox is left to the caller to hand in.
            now: The store's time.
            values: Reads and makes values.
            slots: How many attempts of given resources fit at once.
            automatic: The run was taken over from an owner that died.
            reopen: The run has ended and goes on.
            random: For jitter.
            attempt_ids: Makes attempt ids.
            run_ids: Makes ids for runs of sub-workflows.
        """
        spec, row = snapshot.spec, snapshot.run
        root = ScopeState(spec.workflow, spec.inputs)
        self._run = run = RunState(
            row.id,
            row.root_id,
            spec,
            values,
            slots,
            random or Random(),  # noqa: S311 - jitter is no secret
            attempt_ids,
            run_ids,
            now,
            root,
        )
        run.status, run.started_at = row.status, row.started_at
        run.cancel_requested = row.cancel_requested and not reopen
        run.root = scopes.build(run, spec.workflow, spec.inputs, None, lambda _number, name: StepPath(name))
        if run.started_at is None or reopen or run.status is RunStatus.PENDING:
            run.started_at = run.started_at or now
            run.status = RunStatus.RUNNING
            run.changes.append(RunChanged(RunStatus.RUNNING, now, reopened=reopen))
        if spec.workflow.timeout is not None:
            start = now if reopen else run.started_at
            run.effects.append(SetTimer(None, start + spec.workflow.timeout, "timeout"))
        restoring.restore(run, snapshot, automatic=automatic, reopen=reopen)
        if run.cancel_requested:
            scopes.stop(run, run.root, Stop.CANCELING)

    @property
    def run_id(self) -> RunId:
        """Return the id of the run."""
        return self._run.id

    @property
    def status(self) -> RunStatus:
        """Return the run's status after the inputs so far."""
        return self._run.status

    def pause(self) -> None:
        """Start no further attempt, since the owner is about to give the run back."""
        self._run.paused = True

    def learn_options(self, reference: ToolReference, options: ToolOptions) -> None:
        """Take note of a tool's own Ray options; they count where the workflow is silent."""
        self._run.options[reference] = options

    def attempt_ended(self, attempt: AttemptId, outcome: Outcome, now: datetime, *, node: str = "") -> None:
        """Take the end of an attempt; one that is not under way here is ignored."""
        run = self._run
        run.now = now
        state = run.attempts.get(attempt)
        if state is None:
            return
        match outcome:
            case Succeeded(outputs=outputs):
                steps.attempt_is_over(run, state, "succeeded", None, node)
                steps.succeeded(run, state, dict(outputs))
            case Continued(continuation=continuation):
                steps.attempt_is_over(run, state, "continued", None, node)
                try:
                    workflow, inputs = plan_continuation(state.step, continuation)
                    checked = children.checked_inputs(run, workflow, inputs) if workflow.inputs else inputs
                except (ShoalError, ValueError) as error:
                    problem = error if isinstance(error, ShoalError) else StepFailedError(str(error))
                    end(run, state, StepStatus.FAILED, error=problem)
                    return
                scopes.open_continuation(run, state, workflow, checked)
            case Failed():
                kinds: dict[str, AttemptOutcome] = {
                    "timeout": "timeout",
                    "worker_lost": "worker_lost",
                    "oom": "oom",
                    "canceled": "canceled",
                    "interrupted": "interrupted",
                }
                kind = kinds.get(steps.kind_of(outcome.error), "exception")
                steps.attempt_is_over(run, state, kind, outcome.error, node)
                steps.failed(run, state, outcome)

    def child_ended(
        self, child: RunId, status: RunStatus, outputs: Result | None, error: ShoalError | None, now: datetime
    ) -> None:
        """Take the end of a sub-workflow's run; one that is not this run's is ignored."""
        self._run.now = now
        children.ended(self._run, child, status, outputs, error)

    def gathered(self, path: StepPath, result: Result, now: datetime) -> None:
        """Take the gathered outputs of a loop."""
        self._run.now = now
        state = self._run.steps.get(path)
        if state is not None:
            loops.gathered(self._run, state, result)

    def timer(self, path: StepPath | None, kind: TimerKind, now: datetime) -> None:
        """Take the firing of a timer; one that is no longer wanted is ignored."""
        run = self._run
        run.now = now
        if path is None:
            if run.root.phase is Phase.MAIN and run.root.stop is not Stop.CANCELING:
                limit = run.spec.workflow.timeout
                late = StepTimeoutError(f"the run did not end within its timeout of {limit}", run_id=run.id)
                run.root.error = run.root.failed.error if run.root.failed else late
                scopes.stop(run, run.root, Stop.CANCELING)
            return
        state = run.steps.get(path)
        if state is None or state.status.ended:
            return
        if kind == "wake":
            steps.wake(run, state)
        elif state.path in state.scope.live and state.doom is None:
            error = StepTimeoutError(f"step {path!r} did not end within its deadline of {state.step.deadline}")
            scopes.doom(run, state, error)

    def command(self, entry: InboxEntry, now: datetime) -> None:
        """Take a command from the inbox; a signal that nobody waits for is kept."""
        run = self._run
        run.now = now
        match entry.command:
            case CancelCommand():
                run.changes.append(InboxHandled(entry.seq))
                if not run.status.ended:
                    run.changes.append(CancelRecorded(now))
                    self._cancel()
            case SignalCommand(name=name, payload=payload):
                waiting = run.waiters.get(name)
                while waiting:
                    state = waiting.popleft()
                    if state.status is StepStatus.WAITING:
                        steps.deliver(run, state, entry.seq, payload)
                        return
                run.signals.setdefault(name, deque()).append((entry.seq, payload))
            case _:
                run.changes.append(InboxHandled(entry.seq))

    def _cancel(self) -> None:
        run = self._run
        again, run.cancel_requested = run.cancel_requested, True
        if run.root.phase is Phase.MAIN:
            scopes.stop(run, run.root, Stop.CANCELING)
        elif again:
            scopes.stop(run, run.root, Stop.CANCELING, hard=True)  # `finally` steps run after the first cancel, not the second
        else:
            run.root.stop = Stop.CANCELING

    def decide(self) -> Decision:
        """Work off what follows from the inputs so far, and return it."""
        run = self._run
        while run.todo or self._startable():
            while run.todo:
                todo, state = run.todo.popleft()
                if todo is Todo.CONSIDER:
                    steps.consider(run, state)
                elif todo is Todo.ENDED:
                    scopes.step_ended(run, state)
                else:
                    loops.advance(run, state)
            self._start_ready()
        self._tell_status()
        decision = Decision(tuple(run.changes), tuple(run.effects))
        run.changes.clear()
        run.effects.clear()
        return decision

    def _startable(self) -> bool:
        run = self._run
        if not run.ready or run.paused:
            return False
        limit = run.spec.workflow.max_parallel
        if limit is not None:
            return run.in_flight < limit
        return run.in_flight < WINDOW or run.in_flight < 2 * run.slots(Resources())

    def _start_ready(self) -> None:
        run = self._run
        while self._startable():
            state = run.ready.popleft()
            if state.status is not StepStatus.PENDING or state.path not in state.scope.live:
                continue
            if isinstance(state.step.action, RunWorkflow):
                try:
                    children.begin(run, state, state.step.action.workflow)
                except (ExpressionError, InvalidInputError) as error:
                    end(run, state, StepStatus.FAILED, error=error)
            else:
                steps.dispatch(run, state)

    def _tell_status(self) -> None:
        run = self._run
        for path, state in run.loops.items():
            loop = state.loop
            if loop is not None and not state.status.ended:
                counts = loop.counts()
                note = f"{counts.failed} failed" if counts.failed else ""
                run.changes.append(StepProgressed(path, Progress(loop.done, len(loop.ended), note)))
        run.loops.clear()
        if run.status.ended:
            return
        status = RunStatus.WAITING if run.waiting and not run.busy else RunStatus.RUNNING
        if status is not run.status:
            run.status = status
            run.changes.append(RunChanged(status, run.now))
