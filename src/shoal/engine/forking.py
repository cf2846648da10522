"""A fork: a new run that begins with what another has recorded, up to a step.

Owns which steps are taken over, and what of their rows. Pure, as everything here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from shoal.errors import ConflictError, InvalidInputError, NotFoundError
from shoal.model.ids import StepName, StepPath, top_level
from shoal.model.policies import OnError
from shoal.model.run import StepRecord, StepStatus
from shoal.model.values import Result
from shoal.model.workflow import Step, Workflow


def kept_steps(workflow: Workflow, first: str) -> frozenset[StepName]:
    """Return the steps that a fork takes over: all but a step, and what comes after it. `finally` steps run anew.

    Raises:
        NotFoundError: There is no such step, or it is a `finally` step.
    """
    names = [step.name for step in workflow.steps]
    if first not in names:
        there = ", ".join(names[:20])
        raise NotFoundError(f"the workflow has no step {first!r} to fork from", hint=f"its steps: {there}")
    again = {StepName(first)}
    before = 0
    while before != len(again):
        before = len(again)
        again |= {step.name for step in workflow.steps if again.intersection(step.needs)}
    return frozenset(names) - again


def copied_rows(
    workflow: Workflow, first: str, rows: Iterable[StepRecord], outputs: Mapping[str, Result]
) -> tuple[StepRecord, ...]:
    """Return the rows that a fork begins with.

    Taken over is what has ended and is recorded, items of loops included; what was spawned is not, since the step that it was
    spawned for has its outputs. What has not ended, or failed for good, runs in the fork.

    Args:
        workflow: The definition.
        first: The step from which on everything runs anew.
        rows: Of the run that is forked.
        outputs: Outputs that take the place of recorded ones, by step.

    Raises:
        NotFoundError: There is no such step.
        InvalidInputError: Outputs are given for a step that is not taken over.
        ConflictError: A step that is needed has not ended in the run.
    """
    kept = kept_steps(workflow, first)
    if wrong := [name for name in outputs if name not in kept]:
        raise InvalidInputError(
            f"step {wrong[0]!r} runs anew in the fork, so its outputs cannot be given", hint=f"it comes after {first!r}"
        )
    steps = {step.name: step for step in workflow.steps}
    taken: dict[StepPath, StepRecord] = {}
    for row in rows:
        top = top_level(row.path)
        if row.scope or top not in kept or not row.status.ended:
            continue
        if row.path != top or _counts(steps[StepName(top)], row, replaced=row.name in outputs):
            taken[row.path] = dataclasses.replace(row, child_run_id=None, delegate=None, spawned=0, progress=None)
    for name, result in outputs.items():
        path = StepPath(name)
        row = taken.get(path) or StepRecord(path, StepName(name), StepStatus.SUCCEEDED)
        taken[path] = dataclasses.replace(row, status=StepStatus.SUCCEEDED, result=result, error=None, skip_reason=None)
    _check(steps[StepName(first)], steps, taken)
    return tuple(row for row in taken.values() if top_level(row.path) in taken)


def _counts(step: Step, row: StepRecord, *, replaced: bool) -> bool:
    """Return whether a step that has ended did so in a way that a fork can begin with."""
    match row.status:
        case StepStatus.SUCCEEDED:
            return replaced or step.checkpoint
        case StepStatus.SKIPPED:
            return row.skip_reason == "condition"
        case StepStatus.FAILED:
            return step.on_error is OnError.CONTINUE
        case _:
            return False


def _check(first: Step, steps: Mapping[StepName, Step], taken: Mapping[StepPath, StepRecord]) -> None:
    """Refuse a fork from a step that the run had not come to: it would be a retry by another name."""
    for need in first.needs:
        if StepPath(need) not in taken and steps[need].checkpoint:
            raise ConflictError(
                f"step {first.name!r} needs {need!r}, of which the run has no result",
                hint=f"fork from {need!r}, or resume the run",
            )
