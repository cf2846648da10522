"""The end of a step: its row, and the follow-up that tells others."""

from __future__ import annotations

import dataclasses
from typing import cast

from shoal.engine.state import RunState, ScopeState, StepState, Todo
from shoal.errors import RunError, ShoalError
from shoal.model.run import SkipReason, StepStatus, SuspectsChanged
from shoal.model.values import Json, Result, Value
from shoal.model.workflow import CallTool, RunWorkflow


def end(
    run: RunState,
    state: StepState,
    status: StepStatus,
    *,
    error: ShoalError | None = None,
    reason: SkipReason | None = None,
    result: Result | None = None,
    opened: ScopeState | None = None,
    caught: Value | None = None,
) -> None:
    """End a step that has not ended: put its row among the changes and queue the follow-up.

    Args:
        run: The run.
        state: The step.
        status: How it ended.
        error: Why it failed or was canceled.
        reason: Why it was skipped.
        result: Its outputs, if it succeeded.
        opened: The graph that it spawned, for a step to be gone on with on a resume.
        caught: The pair for a step with `catch`, if its worker made it.
    """
    settle_counters(run, state)
    if status is StepStatus.FAILED and state.step.catch:
        pair = caught or run.values.store(cast("Json", (None, stamped(run, state, error))))
        status, result, error, opened = StepStatus.SUCCEEDED, {"result": pair}, None, None
    state.status = status
    state.error = stamped(run, state, error)
    state.skip_reason = reason
    state.result = result
    state.finished_at = run.now
    state.wake_at = None
    state.waits_for = None
    state.opened = opened
    state.scope.live.pop(state.path, None)
    if status is StepStatus.SUCCEEDED and run.suspects:
        run.suspects = {}
        run.changes.append(SuspectsChanged({}))
    run.save(state)
    run.later(Todo.ENDED, state)


def stamped(run: RunState, state: StepState, error: ShoalError | None) -> ShoalError | None:
    """Return the error with the run and the step it happened in."""
    if isinstance(error, RunError) and error.step is None:
        return dataclasses.replace(error, run_id=run.id, step=state.path)
    return error


def is_leaf(state: StepState) -> bool:
    """Whether the step itself keeps a run busy: it calls a tool or drives a run, and is no loop."""
    return not state.is_loop and isinstance(state.step.action, CallTool | RunWorkflow)


def settle_counters(run: RunState, state: StepState) -> None:
    """Take a step that is under way out of the counts of busy and waiting steps."""
    if state.path in state.scope.live:
        if state.status is StepStatus.WAITING:
            run.waiting -= 1
        elif is_leaf(state) and state.opened is None:
            run.busy -= 1
