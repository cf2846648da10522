"""A single step: whether it runs, its attempts, and what becomes of each."""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import datetime, timedelta
from typing import cast

from shoal.engine import children, loops
from shoal.engine.effects import Dispatch, SetTimer
from shoal.engine.ending import end, is_leaf, stamped
from shoal.engine.retries import delay, is_covered, kind_of, spent
from shoal.engine.state import RunState, StepState, Stop
from shoal.engine.view import StepView
from shoal.errors import ExpressionError, InvalidInputError, ShoalError, StepTimeoutError
from shoal.language.durations import parse_duration
from shoal.language.evaluation import evaluate, evaluate_condition, materialize_all
from shoal.model.attempts import Failed
from shoal.model.policies import RetryPolicy
from shoal.model.run import AttemptChanged, AttemptOutcome, AttemptRecord, InboxHandled, StepStatus
from shoal.model.values import Json, Value
from shoal.model.workflow import CallTool, Condition, Expression, Reference, RunWorkflow, Sleep, WaitSignal


def consider(run: RunState, state: StepState) -> None:
    """Start or skip a step all of whose needs have ended."""
    if state.status is not StepStatus.PENDING or state.path in state.scope.live:
        return
    scope = state.scope
    if state.loop_step is not None and state.loop_step.loop is not None and state.loop_step.loop.stopped:
        loops.drop_item(run, state)
        return
    condition = state.step.condition
    stop = scope.stop if not state.is_finally or scope.hard else None
    if stop is Stop.CANCELING or (stop is Stop.FAILING and not _survives(state, condition)):
        end(run, state, StepStatus.SKIPPED, reason="not_reached")
        return
    if condition is not None and _is_per_item(condition) == (state.index is not None):
        try:
            wanted = evaluate_condition(condition, StepView(run, scope, state))
        except ExpressionError as error:
            end(run, state, StepStatus.FAILED, error=error)
            return
        if not wanted:
            end(run, state, StepStatus.SKIPPED, reason="condition")
            return
    begin(run, state)


def _survives(state: StepState, condition: Condition | None) -> bool:
    if state.index is not None:
        return True  # an item lives and dies with its loop
    if condition is None:
        return False
    failed = (state.scope.steps[name].status is StepStatus.FAILED for name in condition.statuses)
    return condition.after_failure or any(failed)


def _is_per_item(condition: Condition) -> bool:
    match condition.expression:
        case Expression(references=references):
            return any(r.root[0] in ("item", "index") for r in references)
        case Reference(root=root):
            return root[0] in ("item", "index")
        case _:
            return False


def begin(run: RunState, state: StepState) -> None:
    """Start a step for the first time since it was opened or reopened."""
    state.scope.live[state.path] = state
    if state.started_at is None:
        state.started_at = run.now
    if state.step.deadline is not None and state.index is None:
        run.effects.append(SetTimer(state.path, state.started_at + state.step.deadline, "deadline"))
    if state.is_loop:
        loops.begin(run, state)
        return
    if is_leaf(state):
        run.busy += 1
    try:
        match state.step.action:
            case CallTool():
                run.ready.append(state)
            case RunWorkflow(workflow=workflow):
                children.begin(run, state, workflow)
            case WaitSignal(signal=signal, timeout=timeout):
                name = evaluate(signal, StepView(run, state.scope, state))
                _wait(run, state, timeout)
                state.waits_for = name if isinstance(name, str) else str(name)
                listen(run, state)
            case Sleep(duration=duration, until=until):
                value = evaluate(duration, StepView(run, state.scope, state))
                _wait(run, state, _remaining(value, run.now) if until else _seconds(value))
    except (ExpressionError, InvalidInputError) as error:
        end(run, state, StepStatus.FAILED, error=error)


def _seconds(value: Json) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ExpressionError(f"a sleep needs seconds or a duration such as 1h30m, not {value!r}") from error


def _remaining(value: Json, now: datetime) -> timedelta:
    """Return how far off a time in seconds since 1970 is; nothing for one that has passed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ExpressionError(f"a sleep until a time needs seconds since 1970, not {value!r}")
    return timedelta(seconds=max(0.0, value - now.timestamp()))


def _wait(run: RunState, state: StepState, duration: timedelta | None) -> None:
    state.status = StepStatus.WAITING
    run.waiting += 1
    if duration is not None:
        state.wake_at = run.now + duration
        run.effects.append(SetTimer(state.path, state.wake_at, "wake"))
    run.save(state)


def listen(run: RunState, state: StepState) -> None:
    """Give a waiting step the oldest signal of its name, or let it wait."""
    name = state.waits_for or ""
    queue = run.signals.get(name)
    if not queue:
        run.waiters.setdefault(name, deque()).append(state)
        return
    seq, payload = queue.popleft()
    deliver(run, state, seq, payload)


def deliver(run: RunState, state: StepState, seq: int, payload: Json) -> None:
    """End a waiting step with the payload of a signal."""
    run.changes.append(InboxHandled(seq))
    shape = state.step.action.shape if isinstance(state.step.action, WaitSignal) else "members"
    members = payload if isinstance(payload, dict) and shape == "members" else {"result": payload}
    if shape == "event":
        members = {"result": cast("Json", (state.waits_for, payload))}
    end(run, state, StepStatus.SUCCEEDED, result={key: run.values.store(value) for key, value in members.items()})


def dispatch(run: RunState, state: StepState) -> None:
    """Start the next attempt of a ready step."""
    step, view = state.step, StepView(run, state.scope, state)
    try:
        arguments = materialize_all(step.inputs, view)
        env = materialize_all(step.env, view)
    except ExpressionError as error:
        end(run, state, StepStatus.FAILED, error=error)
        return
    state.attempts += 1
    state.attempt = run.new_attempt_id()
    state.attempt_started_at = run.now
    state.status = StepStatus.RUNNING
    state.wake_at = None
    run.attempts[state.attempt] = state
    run.in_flight += 1
    run.save(state)
    run.changes.append(AttemptChanged(AttemptRecord(state.path, state.attempts, state.attempt, run.now)))
    run.effects.append(Dispatch(state.path, state.attempts, state.attempt, step, arguments, env))


def attempt_is_over(run: RunState, state: StepState, outcome: AttemptOutcome, error: ShoalError | None, node: str) -> None:
    """Record the end of the attempt under way."""
    attempt = state.attempt
    if attempt is None:
        return
    started = state.attempt_started_at or run.now
    record = AttemptRecord(state.path, state.attempts, attempt, started, run.now, outcome, stamped(run, state, error), node)
    run.changes.append(AttemptChanged(record))
    run.attempts.pop(attempt, None)
    run.in_flight -= 1
    state.attempt = None


def succeeded(run: RunState, state: StepState, outputs: dict[str, Value]) -> None:
    """End a step whose attempt returned."""
    end(run, state, StepStatus.SUCCEEDED, result=outputs)


def failed(run: RunState, state: StepState, failure: Failed) -> None:
    """Retry, end or put back a step whose attempt failed."""
    kind = kind_of(failure.error)
    if kind == "interrupted":
        state.status = StepStatus.PENDING
        run.ready.append(state)
        run.save(state)
        return
    scope = state.scope
    if state.doom is not None:
        end(run, state, StepStatus.FAILED, error=state.doom)
    elif scope.stop is Stop.CANCELING and (not state.is_finally or scope.hard):
        end(run, state, StepStatus.CANCELED, error=failure.error)
    else:
        policy = _policy(run, state)
        count = _count(state, kind)
        retry = is_covered(policy, failure, kind) and not spent(policy, kind, count) and kind != "canceled"
        if retry and (scope.stop is None or state.is_finally):
            _retry_later(run, state, failure.error, delay(policy, count, run.random))
        else:
            end(run, state, StepStatus.FAILED, error=failure.error, caught=failure.caught)


def _count(state: StepState, kind: str) -> int:
    match kind:
        case "worker_lost":
            state.lost += 1
            return state.lost
        case "oom":
            state.out_of_memory += 1
            return state.out_of_memory
        case _:
            state.exceptions += 1
            return state.exceptions


def _policy(run: RunState, state: StepState) -> RetryPolicy:
    """Return the step's policy; a tool's own Ray options count where the workflow is silent."""
    policy = state.step.retry
    action = state.step.action
    if policy.explicit or not isinstance(action, CallTool):
        return policy
    options = run.options.get(action.reference)
    if options is None or options.max_retries is None:
        return policy
    lost = options.max_retries if options.max_retries >= 0 else 1_000_000
    policy = dataclasses.replace(policy, worker_lost=lost)
    if options.retry_exceptions is None:
        return policy
    names = options.retry_exceptions if isinstance(options.retry_exceptions, tuple) else ()
    attempts = lost + 1 if options.retry_exceptions else 1
    return dataclasses.replace(policy, max_attempts=attempts, on=(*names, "worker_lost", "oom", "timeout") if names else ())


def _retry_later(run: RunState, state: StepState, error: ShoalError, wait: timedelta) -> None:
    state.status = StepStatus.PENDING
    state.error = stamped(run, state, error)
    state.wake_at = run.now + wait
    run.save(state)
    run.effects.append(SetTimer(state.path, state.wake_at, "wake"))


def wake(run: RunState, state: StepState) -> None:
    """Go on with a step whose time has come; a timer that is no longer wanted is ignored."""
    if state.wake_at is None or run.now < state.wake_at or state.status.ended:
        return
    if state.status is StepStatus.PENDING:
        state.wake_at = None
        run.ready.append(state)
    elif state.status is StepStatus.WAITING and isinstance(state.step.action, Sleep):
        end(run, state, StepStatus.SUCCEEDED, result={name: run.values.store(None) for name in state.step.outputs})
    elif state.status is StepStatus.WAITING:
        text = f"no signal {state.waits_for!r} came in time"
        end(run, state, StepStatus.FAILED, error=StepTimeoutError(text))
