"""Scopes: the run's own graph and the graphs that continuations spawn; how one starts, stops and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from shoal.engine import loops
from shoal.engine.effects import CancelAttempts, CancelChild, Finished
from shoal.engine.ending import end, settle_counters
from shoal.engine.state import Phase, RunState, ScopeState, StepState, Stop, Todo
from shoal.engine.view import StepView
from shoal.errors import ExpressionError, RunCanceledError, ShoalError, StepFailedError
from shoal.language.evaluation import materialize
from shoal.model.encoding import fill
from shoal.model.ids import StepName, StepPath, spawned_path, top_level
from shoal.model.policies import OnError
from shoal.model.run import RunEnded, RunStatus, ScopeOpened, ScopeRecord, StepStatus
from shoal.model.values import Arguments, Hole, Json, Result, SecretText, Value
from shoal.model.workflow import Workflow


def build(
    run: RunState, workflow: Workflow, inputs: Arguments, owner: StepState | None, path_of: Callable[[int, StepName], StepPath]
) -> ScopeState:
    """Return the scope of a graph with a pending state for every step of it.

    Args:
        run: The run.
        workflow: The graph.
        inputs: Its inputs, checked.
        owner: The step whose outputs it makes.
        path_of: Gives the path of a step by its number (from 0, `finally` steps last) and name.
    """
    scope = ScopeState(workflow, inputs, owner)
    for number, step in enumerate((*workflow.steps, *workflow.finally_steps)):
        state = StepState(step, path_of(number, step.name), scope, is_finally=number >= len(workflow.steps))
        scope.steps[step.name] = state
        run.steps[state.path] = state
    finals = {step.name for step in workflow.finally_steps}
    for name, state in scope.steps.items():
        for need in state.step.needs:
            if not state.is_finally or need in finals:
                scope.dependents.setdefault(need, []).append(name)
                state.unmet += 1
    return scope


def start(run: RunState, scope: ScopeState) -> None:
    """Start a fresh scope."""
    count(scope)
    proceed(run, scope)


def proceed(run: RunState, scope: ScopeState) -> None:
    """Start what nothing stands before in a scope that was counted; end one that has nothing to do."""
    if scope.remaining == 0:
        next_phase(run, scope)
        return
    for state in scope.steps.values():
        if state.unmet == 0 and state.status is StepStatus.PENDING and in_phase(scope, state):
            run.later(Todo.CONSIDER, state)


def count(scope: ScopeState) -> None:
    """Count the steps of the present phase that have not ended."""
    scope.remaining = sum(1 for s in scope.steps.values() if not s.status.ended and in_phase(scope, s))


def in_phase(scope: ScopeState, state: StepState) -> bool:
    """Whether a step belongs to the present phase of its scope."""
    return state.is_finally == (scope.phase is Phase.FINALLY)


def step_ended(run: RunState, state: StepState) -> None:
    """Tell a step's loop, or its dependents and its scope, that it ended."""
    if state.index is not None:
        loops.item_ended(run, state)
        return
    scope = state.scope
    if state.status is StepStatus.FAILED and state.step.on_error is OnError.FAIL:
        if scope.failed is None:
            scope.failed = state
        if scope.phase is Phase.MAIN:
            stop(run, scope, Stop.FAILING)
    for name in scope.dependents.get(state.step.name, ()):
        dependent = scope.steps[name]
        dependent.unmet -= 1
        if dependent.unmet == 0 and in_phase(scope, dependent):
            run.later(Todo.CONSIDER, dependent)
    scope.remaining -= 1
    if scope.remaining == 0:
        next_phase(run, scope)


def stop(run: RunState, scope: ScopeState, why: Stop, *, hard: bool = False) -> None:
    """Let nothing new start in a scope; what is under way ends by itself or, when canceling, is told to.

    Args:
        run: The run.
        scope: The scope.
        why: Failing or canceling; canceling outdoes failing.
        hard: Stop the `finally` steps, too.
    """
    if (scope.stop is Stop.CANCELING or scope.stop is why) and not (hard and not scope.hard):
        return
    scope.stop = why
    scope.hard = scope.hard or hard
    for state in list(scope.live.values()):
        if not state.is_finally or scope.hard:
            stop_step(run, state, why, hard=hard)


def stop_step(run: RunState, state: StepState, why: Stop, *, hard: bool = False) -> None:
    """Stop a step that is under way; attempts and child runs go on when the scope is only failing."""
    if state.status.ended:
        return
    if state.loop is not None:
        state.loop.stopped = True
        run.later(Todo.ADVANCE, state)
    elif state.opened is not None:
        stop(run, state.opened, why, hard=hard)
    elif state.attempt is not None:
        if why is Stop.CANCELING:
            run.effects.append(CancelAttempts((state.attempt,)))
    elif state.child is not None and state.status is StepStatus.RUNNING:
        if why is Stop.CANCELING:
            run.effects.append(CancelChild(state.child))
    elif state.status is StepStatus.WAITING or (state.error is not None and why is Stop.CANCELING):
        end(run, state, StepStatus.CANCELED)
    elif state.error is not None:
        end(run, state, StepStatus.FAILED, error=state.error)
    elif state.loop_step is not None:
        settle_counters(run, state)
        state.scope.live.pop(state.path, None)
        state.status = StepStatus.CANCELED
        loops.drop_item(run, state)
    else:
        end(run, state, StepStatus.SKIPPED, reason="not_reached")


def doom(run: RunState, state: StepState, error: ShoalError) -> None:
    """End a step for a reason of its own (its deadline), whatever it is doing."""
    if state.status.ended:
        return
    state.doom = error
    if state.loop is not None:
        state.loop.stopped = True
        state.loop.failed, state.loop.error = state.path, error
        for item in [s for s in state.scope.live.values() if s.loop_step is state]:
            doom(run, item, error)
        run.later(Todo.ADVANCE, state)
    elif state.opened is not None:
        stop(run, state.opened, Stop.CANCELING)
    elif state.attempt is not None:
        run.effects.append(CancelAttempts((state.attempt,)))
    elif state.child is not None and state.status is StepStatus.RUNNING:
        run.effects.append(CancelChild(state.child))
    else:
        end(run, state, StepStatus.FAILED, error=error)


def next_phase(run: RunState, scope: ScopeState) -> None:
    """Go on to the `finally` steps, or end the scope."""
    if scope.phase is Phase.MAIN:
        scope.phase = Phase.FINALLY
        count(scope)
        if scope.remaining:
            for state in scope.steps.values():
                if state.is_finally and state.unmet == 0 and state.status is StepStatus.PENDING:
                    run.later(Todo.CONSIDER, state)
            return
    if scope.phase is Phase.FINALLY:
        scope.phase = Phase.DONE
        _conclude(run, scope)


def _conclude(run: RunState, scope: ScopeState) -> None:
    owner = scope.owner
    error = scope.error or (scope.failed.error if scope.failed else None)
    outputs: Result | None = None
    if error is None and scope.stop is None:
        try:
            outputs = _outputs(run, scope)
        except ExpressionError as problem:
            error = problem
    if owner is None:
        _finish(run, scope, outputs, error)
        return
    for state in scope.steps.values():
        run.steps.pop(state.path, None)
    # What was spawned is remembered with a step that did not succeed: a resume goes on with it, not with the tool.
    if owner.doom is not None or error is not None:
        end(run, owner, StepStatus.FAILED, error=owner.doom or error, opened=scope)
    elif scope.stop is not None or outputs is None:
        end(run, owner, StepStatus.CANCELED, opened=scope)
    else:
        missing = [name for name in owner.step.outputs if name not in outputs]
        if missing:
            text = f"the continuation of step {owner.step.name!r} returned no output {missing[0]!r}, which the step declares"
            end(run, owner, StepStatus.FAILED, error=StepFailedError(text))
        else:
            end(run, owner, StepStatus.SUCCEEDED, result=outputs)


def _finish(run: RunState, scope: ScopeState, outputs: Result | None, error: ShoalError | None) -> None:
    if run.cancel_requested:
        run.status = RunStatus.CANCELED
        error = RunCanceledError("the run was canceled", run_id=run.id)
    elif error is not None or scope.stop is not None:
        run.status = RunStatus.FAILED
    else:
        run.status = RunStatus.SUCCEEDED
    recorded = outputs if run.status is RunStatus.SUCCEEDED else None
    run.changes.append(RunEnded(run.status, run.now, recorded, error))
    run.effects.append(Finished())


def _outputs(run: RunState, scope: ScopeState) -> Result:
    flow = scope.workflow
    if flow.outputs is None:
        last = scope.steps[flow.steps[-1].name] if flow.steps else None
        return (last.result or {}) if last is not None else {}
    view = StepView(run, scope)
    return {name: _as_value(run, materialize(template, view)) for name, template in flow.outputs}


def _as_value(run: RunState, arguments: Arguments) -> Value:
    if len(arguments.holes) == 1 and arguments.holes[0][0] == () and isinstance(arguments.holes[0][1], Value):
        return arguments.holes[0][1]

    def read(hole: Hole) -> Json:
        if isinstance(hole, SecretText):
            raise ExpressionError("an output cannot hold a secret")
        return run.values.load(hole)

    return run.values.store(cast("Json", fill(arguments, read)))


def open_continuation(run: RunState, state: StepState, workflow: Workflow, inputs: Arguments) -> None:
    """Let the graph that a tool answered with make the outputs of its step.

    A continuation of the only step of a graph takes that graph's place, so a loop of continuations stays flat in memory.
    """
    top = run.steps[top_level(state.path)]
    first = top.spawned + 1
    top.spawned += len(workflow.steps) + len(workflow.finally_steps)
    owner = state
    settle_counters(run, state)
    above = state.scope.owner
    # A step that catches exceptions stands for itself, unless what it would be replaced by catches them as well.
    # An item of a loop stands for itself as well: others of its loop go on.
    alone = state.scope.passes_through and state.index is None
    if alone and above is not None and (above.step.catch or not state.step.catch):
        owner = above
        state.status, state.finished_at, state.result = StepStatus.SUCCEEDED, run.now, {}
        run.save(state)
        run.steps.pop(state.path, None)
    record = ScopeRecord(owner.path, workflow, inputs, first)
    scope = build(run, workflow, inputs, owner, lambda number, _name: spawned_path(top.path, first + number))
    scope.stop, scope.hard = owner.scope.stop, owner.scope.hard
    owner.opened = scope
    owner.status = StepStatus.RUNNING
    run.changes.append(ScopeOpened(record, run.now))
    run.save(owner)
    if top is not owner:
        run.save(top)
    start(run, scope)
