"""What comes of runs and of their tasks, as Python values and as the errors that the API raises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shoal.errors import InfrastructureError
from shoal.model.ids import RunId, StepName, StepPath
from shoal.model.run import RunRecord, RunStatus, StepRecord, StepStatus
from shoal.model.values import Value
from shoal.model.workflow import Step
from shoal.workflow._graph import step_name
from shoal.workflow._pickling import decode_value
from shoal.workflow.exceptions import TaskNotFoundError, WorkflowCancellationError, WorkflowExecutionError

if TYPE_CHECKING:
    from shoal.workflow._session import Session


async def output_of(session: Session, run_id: RunId) -> Any:
    """Return the output of a run once it has ended.

    Raises:
        WorkflowExecutionError: It failed.
        WorkflowCancellationError: It was canceled.
        WorkflowNotFoundError: There is none.
        InfrastructureError: Nobody drives it any more.
    """
    run = await session.ended(run_id)
    return read_output(session, run)


def read_output(session: Session, run: RunRecord) -> Any:
    """Return the output of a run that has ended, or raise why there is none."""
    if run.status is RunStatus.CANCELED:
        raise WorkflowCancellationError(f"Workflow[id={run.id}] is cancelled during execution.", workflow_id=run.id)
    if run.status is RunStatus.FAILED:
        failure = run.error.to_json() if run.error is not None else None
        step = getattr(run.error, "step", None)
        what = f": task {step}: {run.error.message}" if run.error is not None and step else f": {run.error}"
        raise WorkflowExecutionError(
            f"Workflow[id={run.id}] failed during execution{what}",
            workflow_id=run.id,
            run_id=run.id,
            step=step,
            failure=failure,
        )
    get = session.client.blobs.get
    outputs = {name: decode_value(value, get) for name, value in (run.outputs or {}).items()}
    return outputs["result"] if list(outputs) == ["result"] else outputs


async def task_output(session: Session, run_id: RunId, task_id: str) -> Any:
    """Return the output of a task once it is recorded.

    Raises:
        TaskNotFoundError: The run has ended without it.
        WorkflowExecutionError: The task failed.
        WorkflowNotFoundError: There is no such run.
        InfrastructureError: Nobody drives the run any more.
    """
    mark: int | None = None
    store = session.client.store
    while True:
        run = await session.record(run_id)
        row, step = await find_task(session, run_id, task_id)
        if row is not None and row.status is StepStatus.SUCCEEDED:
            return decode_value(await _value(session, run_id, row, step, task_id), session.client.blobs.get)
        if row is not None and row.status is StepStatus.FAILED:
            text = f"task {task_id!r} of workflow {run_id} failed: {row.error}"
            failure = row.error.to_json() if row.error is not None else None
            raise WorkflowExecutionError(text, workflow_id=run_id, run_id=run_id, step=row.path, failure=failure)
        if run.status.ended:
            raise TaskNotFoundError(f"workflow {run_id} has ended without executing a task {task_id!r}", workflow_id=run_id)
        if not run.live and run.status is not RunStatus.PENDING and not session.client.drives(run_id):
            raise InfrastructureError(f"nobody drives workflow {run_id} any more", hint="workflow.resume")
        mark = await store.wait(mark, 1.0)
        await asyncio.sleep(0.02)


async def _value(session: Session, run_id: RunId, row: StepRecord, step: Step | None, task_id: str) -> Value:
    """Return the recorded value of a task; that of a continuation is the value of what it answered with."""
    while row.result is not None and not row.result and row.scope:
        row = await session.client.store.step(run_id, StepPath(row.scope))
    if row.result is None or "result" not in row.result:
        hint = "it has checkpoint=False" if step is not None and not step.checkpoint else None
        raise TaskNotFoundError(
            f"the output of task {task_id!r} of workflow {run_id} is not stored", hint=hint, workflow_id=run_id
        )
    return row.result["result"]


async def find_task(session: Session, run_id: RunId, task_id: str) -> tuple[StepRecord | None, Step | None]:
    """Return the row and the definition of a task, as far as there is one.

    A task of the run's own DAG goes by its id; one that a continuation brought goes by its id, too, with `_1`, `_2`, ... for
    the second, third, ... that has it, in the order in which continuations brought them.
    """
    flow = (await session.client.store.spec(run_id)).workflow
    for step in flow.steps:
        if task_id in (step.name, step.metadata.get("task_id")):
            rows = [row for row in await session.client.store.steps(run_id, items=False) if row.path == step.name]
            return (rows[0] if rows else StepRecord(StepPath(step.name), step.name, StepStatus.PENDING)), step
    base, _, number = step_name(task_id).rpartition("_")
    rows = await session.client.store.steps(run_id, items=False)
    for name, place in ((step_name(task_id), 0), *([(base, int(number))] if base and number.isdigit() else [])):
        named = sorted((row for row in rows if row.name == StepName(name)), key=lambda row: _number(row.path))
        if place < len(named):
            return named[place], await _spawned_step(session, run_id, named[place])
    return None, None


def _number(path: StepPath) -> int:
    number = path.rpartition("/")[2]
    return int(number) if number.isdigit() else 0


async def _spawned_step(session: Session, run_id: RunId, row: StepRecord) -> Step | None:
    """Return the definition of a task that a continuation brought."""
    snapshot = await session.client.store.snapshot(run_id)
    for scope in snapshot.scopes:
        for step in scope.workflow.steps:
            if scope.owner == row.scope and step.name == row.name:
                return step
    return None
