"""Looking at workflows and acting on them, as ray.workflow did."""

from __future__ import annotations

from typing import Any

from shoal.errors import ConflictError
from shoal.model.ids import RunId
from shoal.model.run import RunRecord, RunStatus, StepRecord
from shoal.model.values import Json
from shoal.model.workflow import Step
from shoal.workflow import _current
from shoal.workflow._api import checked_id, finish, promise, take
from shoal.workflow._hosted import host
from shoal.workflow._outcome import find_task
from shoal.workflow._session import Session
from shoal.workflow._status import WorkflowStatus, status_of, wanted
from shoal.workflow.exceptions import TaskNotFoundError, WorkflowNotResumableError, WorkflowStillActiveError


def resume(workflow_id: str, *, accept_code_change: bool = False) -> Any:
    """Resume a workflow, and return its value; of one that has succeeded the value, of one that runs once it has ended.

    What is recorded does not run again. A workflow that failed or was canceled goes on where it failed or was canceled.

    Args:
        workflow_id: Which.
        accept_code_change: Run tasks although their code is not what it was at its start.

    Raises:
        WorkflowNotFoundError: There is none.
        WorkflowNotResumableError: It is part of another one.
        WorkflowExecutionError: It failed (again).
    """
    session, run_id = _resume(workflow_id, accept=accept_code_change)
    return finish(session, run_id)


def resume_async(workflow_id: str, *, accept_code_change: bool = False) -> Any:
    """Resume a workflow, and return an `ObjectRef` of its value. Arguments and errors are those of `resume`."""
    session, run_id = _resume(workflow_id, accept=accept_code_change)
    return promise(session, run_id)


def _resume(workflow_id: str, *, accept: bool) -> tuple[Session, RunId]:
    session = _current.session(drives=True)
    run = session.portal.call(session.record(checked_id(workflow_id)))
    if run.root_id != run.id:
        raise WorkflowNotResumableError(
            f"Workflow[id={run.id}] is not resumable: it is part of {run.root_id}", workflow_id=run.id, hint="resume that one"
        )
    take(session, run.id, accept=accept)
    return session, run.id


def resume_all(include_failed: bool = False) -> list[tuple[str, Any]]:
    """Resume all workflows that are resumable; those that had begun come before those that waited for their turn.

    Args:
        include_failed: Those that failed, too.

    Returns:
        Their ids, each with an `ObjectRef` of its value.
    """
    session = _current.session(drives=True)
    runs = session.portal.call(session.records())
    chosen = [run for run in runs if _is_resumable(session, run, include_failed=include_failed)]
    chosen.sort(key=lambda run: run.started_at is None)
    for run in chosen:
        take(session, run.id)
    return [(run.id, promise(session, run.id)) for run in chosen]


def _is_resumable(session: Session, run: RunRecord, *, include_failed: bool) -> bool:
    status = status_of(run)
    if status is WorkflowStatus.FAILED:
        return include_failed
    waits = status is WorkflowStatus.PENDING and not session.turns.is_here(run.id)
    return status is WorkflowStatus.RESUMABLE or waits


def get_output(workflow_id: str, *, task_id: str | None = None) -> Any:
    """Return the value of a workflow or of one of its tasks, once it is there.

    Args:
        workflow_id: Which.
        task_id: The task; None: the workflow's own value.

    Raises:
        WorkflowNotFoundError: There is none.
        TaskNotFoundError: The workflow has ended without this task (a ValueError as well).
        WorkflowExecutionError: It failed.
        WorkflowCancellationError: It was canceled.
    """
    session = _current.session()
    run = session.portal.call(session.record(checked_id(workflow_id)))
    return finish(session, run.id, task_id)


def get_output_async(workflow_id: str, *, task_id: str | None = None) -> Any:
    """Return an `ObjectRef` of what `get_output` returns; its errors are raised by `ray.get`."""
    session = _current.session(drives=True)
    return promise(session, checked_id(workflow_id), task_id)


def get_status(workflow_id: str) -> WorkflowStatus:
    """Return the status of a workflow. Raises `WorkflowNotFoundError`."""
    session = _current.session()
    return status_of(session.portal.call(session.record(checked_id(workflow_id))))


def list_all(status_filter: object = None) -> list[tuple[str, WorkflowStatus]]:
    """Return ids and statuses of all workflows, runs of YAML workflows included, the oldest first.

    Args:
        status_filter: A status, its name, or a set of these; None: all.

    Raises:
        TypeError: The filter is nothing of the kind.
    """
    chosen = wanted(status_filter)
    session = _current.session()
    runs = session.portal.call(session.records())
    return [(run.id, status) for run in runs if (status := status_of(run)) in chosen]


def get_metadata(workflow_id: str, task_id: str | None = None) -> dict[str, Any]:
    """Return what is known of a workflow, or of one of its tasks, at this moment.

    Returns:
        For a workflow `status`, `user_metadata` and `stats`; for a task `name`, `task_options`, `user_metadata` and `stats`.
        `stats` has `start_time` and `end_time` in seconds since 1970, as far as these have been.

    Raises:
        WorkflowNotFoundError: There is no such workflow.
        TaskNotFoundError: It has no such task (a ValueError as well).
    """
    session = _current.session()
    run = session.portal.call(session.record(checked_id(workflow_id)))
    if task_id is None:
        flow = session.portal.call(session.client.workflow(run.id))
        stats = _stats(run, ended=run.status in (RunStatus.SUCCEEDED, RunStatus.FAILED))
        return {"status": status_of(run), "user_metadata": _user(flow.metadata), "stats": stats}
    row, step = session.portal.call(find_task(session, run.id, task_id))
    if row is None:
        raise TaskNotFoundError(f"workflow {run.id} has no task {task_id!r}", workflow_id=run.id)
    return {
        "name": task_id,
        "task_options": _options(step),
        "user_metadata": _user(step.metadata if step is not None else {}),
        "stats": _stats(row, ended=row.status.ended),
    }


def _user(metadata: dict[str, Json]) -> dict[str, Json]:
    found = metadata.get("user")
    return dict(found) if isinstance(found, dict) else {}


def _options(step: Step | None) -> dict[str, Json]:
    found = step.metadata.get("options") if step is not None else None
    return dict(found) if isinstance(found, dict) else {}


def _stats(row: RunRecord | StepRecord, *, ended: bool) -> dict[str, float]:
    stats: dict[str, float] = {}
    if row.started_at is not None:
        stats["start_time"] = row.started_at.timestamp()
    if ended and row.finished_at is not None:
        stats["end_time"] = row.finished_at.timestamp()
    return stats


def cancel(workflow_id: str) -> None:
    """Cancel a workflow: what runs of it ends, nothing new starts. Returns once that is so.

    What is recorded stays, and `resume` goes on with it. One that has ended stays as it is. A task gets 5 s to yield before its
    worker is ended.

    Raises:
        WorkflowNotFoundError: There is none.
    """
    session = _current.session()
    session.portal.call(session.cancel(checked_id(workflow_id)))


def delete(workflow_id: str) -> None:
    """Delete a workflow with all that is recorded of it.

    Raises:
        WorkflowNotFoundError: There is none.
        WorkflowStillActiveError: It runs, or waits for its turn.
    """
    session = _current.session()
    if session.plan.detached:
        session = _current.session(drives=True)
    run = session.portal.call(session.record(checked_id(workflow_id)))
    try:
        waits = session.plan.detached and not run.status.ended and host(session.plan).is_here(run.id)
        if waits or session.turns.is_here(run.id):
            raise ConflictError("it runs or waits for its turn")
        session.portal.call(session.client.delete(run.id))
    except ConflictError as error:
        raise WorkflowStillActiveError(
            f"delete couldn't be completed because Workflow[id={run.id}] is still running or pending.", workflow_id=run.id
        ) from error
