"""Sub-workflows: a step that is carried out by a run of its own."""

from __future__ import annotations

import dataclasses
from typing import cast

from shoal.engine.effects import DriveChild
from shoal.engine.ending import end
from shoal.engine.state import RunState, StepState, Stop
from shoal.engine.view import StepView
from shoal.errors import ExpressionError, RunCanceledError, RunError, ShoalError
from shoal.language.evaluation import materialize_all
from shoal.language.inputs import check_inputs
from shoal.model.ids import RunId
from shoal.model.run import ChildCreated, NewRun, Parent, RunSpec, RunStatus, StepStatus
from shoal.model.values import Arguments, Json, Result, Value
from shoal.model.workflow import Workflow


def begin(run: RunState, state: StepState, workflow: Workflow) -> None:
    """Create the run of a sub-workflow and ask for it to be driven.

    Raises:
        ExpressionError: An input cannot be evaluated.
        InvalidInputError: The inputs do not fit what the sub-workflow declares.
    """
    arguments = materialize_all(state.step.inputs, StepView(run, state.scope, state))
    inputs = checked_inputs(run, workflow, arguments)
    spec = RunSpec(workflow, inputs, run.spec.context, run.spec.policy, run.spec.executor, run.spec.fingerprint)
    child = NewRun(run.new_run_id(), spec, run.root_id, Parent(run.id, state.path))
    state.child = child.id
    state.attempts += 1
    state.status = StepStatus.RUNNING
    state.wake_at = None
    run.children[child.id] = state
    run.save(state)
    run.changes.append(ChildCreated(child, run.now))
    run.effects.append(DriveChild(child.id, child))


def checked_inputs(run: RunState, workflow: Workflow, arguments: Arguments) -> Arguments:
    """Return arguments checked against a workflow's declared inputs, defaults filled in.

    A value that is no JSON, or is large, is passed on without a look into it.
    """
    tree = dict(cast("dict[str, Json]", arguments.tree))
    opaque = {str(path[0]) for path, _ in arguments.holes}
    known: dict[str, Json] = {name: value for name, value in tree.items() if name not in opaque}
    for path, hole in arguments.holes:
        if len(path) == 1 and isinstance(hole, Value):
            try:
                known[str(path[0])] = run.values.load(hole)
            except ExpressionError:
                continue
    hidden = opaque - set(known)
    visible = dataclasses.replace(workflow, inputs=tuple(i for i in workflow.inputs if i.name not in hidden))
    declared = {i.name for i in workflow.inputs}
    unknown: dict[str, Json] = dict.fromkeys(hidden - declared)
    filled = check_inputs(visible, known | unknown)
    for name in opaque:
        filled[name] = tree.get(name)  # null, or the tree around deeper holes
    return Arguments(filled, arguments.holes)


def ended(run: RunState, child: RunId, status: RunStatus, outputs: Result | None, error: ShoalError | None) -> None:
    """End the step that a child run carried out."""
    state = run.children.pop(child, None)
    if state is None or state.child != child or state.status.ended:
        return
    canceling = state.scope.stop is Stop.CANCELING and (not state.is_finally or state.scope.hard)
    if status is RunStatus.SUCCEEDED:
        missing = [name for name in state.step.outputs if name not in (outputs or {})]
        if missing:
            error = RunError(f"sub-workflow run {child} has no output {missing[0]!r}, which step {state.step.name!r} declares")
            end(run, state, StepStatus.FAILED, error=error)
            return
        end(run, state, StepStatus.SUCCEEDED, result=outputs or {})
    elif state.doom is not None:
        end(run, state, StepStatus.FAILED, error=state.doom)
    elif canceling:
        end(run, state, StepStatus.CANCELED, error=error or RunCanceledError(f"sub-workflow run {child} was canceled"))
    else:
        end(run, state, StepStatus.FAILED, error=error or RunCanceledError(f"sub-workflow run {child} was canceled"))
