"""The API of ray.workflow, over the engine."""

from __future__ import annotations

import queue
import warnings
from collections.abc import Mapping
from typing import Any, cast

from shoal.errors import InvalidInputError, NotFoundError, ShoalError, UnsupportedError
from shoal.model.encoding import is_exact_json
from shoal.model.ids import RUN_ID, RunId, new_run_id
from shoal.model.run import NewRun
from shoal.model.values import Json
from shoal.tools.context import current_context
from shoal.workflow import _current
from shoal.workflow._graph import Inputs, build_graph
from shoal.workflow._hosted import host
from shoal.workflow._outcome import output_of, task_output
from shoal.workflow._ray import RayTaskError, ray
from shoal.workflow._session import Session
from shoal.workflow.exceptions import WorkflowCancellationError, WorkflowExecutionError
from shoal.workflow.worker import MoreTasks


def run(dag: Any, *args: Any, workflow_id: str | None = None, metadata: Mapping[str, Json] | None = None, **kwargs: Any) -> Any:
    """Run a DAG durably, and return its value.

    If there is a run of this id already, the DAG is not looked at: that run is resumed, or its value returned.

    Args:
        dag: Its last node.
        *args: For the DAG's `InputNode`.
        workflow_id: Its id; by default a new one.
        metadata: A dictionary of JSON that `get_metadata` shows.
        **kwargs: For the `InputNode`.

    Raises:
        WorkflowExecutionError: It failed. Where Ray is, it is a `ray.exceptions.RayTaskError` as well.
        WorkflowCancellationError: It was canceled; likewise.
        queue.Full: As many as may wait for their turn do.
    """
    session, run_id = start(dag, args, kwargs, workflow_id, metadata)
    return finish(session, run_id)


def run_async(
    dag: Any, *args: Any, workflow_id: str | None = None, metadata: Mapping[str, Json] | None = None, **kwargs: Any
) -> Any:
    """Start a DAG durably, and return an `ObjectRef` of its value, which any task or actor of the cluster may wait for.

    The run is durable on return. Arguments and errors are those of `run`; the latter are raised by `ray.get`.
    """
    session, run_id = start(dag, args, kwargs, workflow_id, metadata)
    return promise(session, run_id)


def continuation(dag: Any) -> Any:
    """Return an answer by which a task's value becomes that of a DAG, which is run durably once the task has returned.

    The task's worker is free meanwhile, so a loop or recursion of any length costs no more than its tasks. Outside of a
    workflow, as in `task.bind().execute()`, the DAG is executed by Ray at once.

    Args:
        dag: Its last node.
    """
    try:
        current_context()
    except NotFoundError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray 2.60 calls it deprecated, and has no other way
            return ray.get(dag.execute())
    return MoreTasks(dag)


def start(
    dag: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], workflow_id: str | None, metadata: Mapping[str, Json] | None
) -> tuple[Session, RunId]:
    """Start a run and return at once; see `run`."""
    if metadata is not None and not (isinstance(metadata, dict) and is_exact_json(cast("object", metadata))):
        raise ValueError("metadata is a dictionary with values that JSON holds")
    run_id = checked_id(workflow_id) if workflow_id is not None else new_run_id()
    session = _current.session(drives=True)
    if workflow_id is not None and session.portal.call(exists(session, run_id)):
        take(session, run_id)
        return session, run_id
    about: dict[str, Json] = {"user": dict(metadata or {})}
    flow = build_graph(dag, session.client.blobs.put, inputs=Inputs(args, kwargs), metadata=about)
    begin(session, session.new_run(flow, run_id))
    return session, run_id


def begin(session: Session, new: NewRun) -> None:
    """Record a new run, and have it driven."""
    if session.plan.detached:
        session.portal.call(session.create(new))
        try:
            take(session, new.id)
        except queue.Full:
            session.portal.call(session.client.delete(new.id))  # as if it had not been recorded
            raise
    else:
        session.portal.call(session.launch(new))


def checked_id(workflow_id: object) -> RunId:
    """Return an id.

    Raises:
        TypeError: It is no string.
        InvalidInputError: It cannot be one.
    """
    if not isinstance(workflow_id, str):
        raise TypeError("workflow_id has to be a string type.")
    if not RUN_ID.match(workflow_id):
        raise InvalidInputError(f"{workflow_id!r} cannot be a workflow id", hint="1 to 128 letters, digits, '.', '_' or '-'")
    return RunId(workflow_id)


async def exists(session: Session, run_id: RunId) -> bool:
    """Return whether there is a run."""
    try:
        await session.client.store.run(run_id)
    except NotFoundError:
        return False
    return True


def take(session: Session, run_id: RunId, *, accept: bool = False) -> None:
    """Have a run driven, here or by the detached actor."""
    if session.plan.detached:
        host(session.plan).take(run_id, accept=accept)
    else:
        session.portal.call(session.take(run_id, accept=accept))


def finish(session: Session, run_id: RunId, task_id: str | None = None) -> Any:
    """Wait for a run or task, and return its value; what it failed with is an error of Ray as well, where Ray is."""
    try:
        made = output_of(session, run_id) if task_id is None else task_output(session, run_id, task_id)
        return session.portal.call(made)
    except (WorkflowExecutionError, WorkflowCancellationError) as error:
        if session.plan.executor == "inline":
            raise
        raise as_ray_error(error) from error.__cause__


def as_ray_error(error: ShoalError) -> BaseException:
    """Return an error that is caught as what it is and as a `RayTaskError`."""
    failure = error.failure if isinstance(error, WorkflowExecutionError) else None
    trace = str((failure or {}).get("traceback") or error)
    return RayTaskError("workflow", trace, error).as_instanceof_cause()


def promise(session: Session, run_id: RunId, task_id: str | None = None) -> Any:
    """Return an `ObjectRef` of what will come of a run or task."""
    if session.plan.executor == "inline":
        raise UnsupportedError("an ObjectRef needs Ray", hint="use workflow.run, or workflow.aio.run; or executor='ray'")
    if session.plan.detached:
        return host(session.plan).result(run_id, task_id)
    return _current.desk().promise(run_id, task_id)
