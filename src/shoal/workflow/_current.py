"""The one session of a process, and its connection to Ray."""

from __future__ import annotations

import atexit
import threading
from dataclasses import replace
from typing import Any, Final

from shoal.config import load_settings
from shoal.errors import ConflictError, NotFoundError
from shoal.executors.ray import cluster
from shoal.tools.context import current_context
from shoal.workflow._desk import Desk
from shoal.workflow._hosted import host
from shoal.workflow._ray import ray
from shoal.workflow._session import Plan, Session, settings_of

_lock: Final = threading.RLock()


class _Current:
    session: Session | None = None
    desk: Desk | None = None
    connection: cluster.RayConnection | None = None
    cluster: tuple[str, str] | None = None
    registered: bool = False


def init(
    *,
    max_running_workflows: int | None = None,
    max_pending_workflows: int | None = None,
    detached: bool | None = None,
    executor: str | None = None,
    accept_code_change: bool | None = None,
    **settings: object,
) -> None:
    """Set up this process for workflows. Every other call does so by itself, with what stands here as defaults.

    A Ray that the process is connected to is used as it is; else one is started or attached to (`SHOAL_RAY_ADDRESS`), which
    must happen in the main thread. Called again, it may repeat what was said; to change it, call `shutdown` first.

    Args:
        max_running_workflows: So many run at a time; others wait for their turn. None: all run.
        max_pending_workflows: So many may wait; one more raises `queue.Full`. None: any number.
        detached: Let an actor that outlives this process drive the workflows, on this node.
        executor: `ray`, or `inline` for tests: tasks run in threads of this process, and no Ray is needed.
        accept_code_change: Run tasks although their code is not what it was when their run was started.
        **settings: Of Shoal (`home`, `blobs`, ...), before its variables.

    Raises:
        ValueError: A limit is no positive number, or something differs from what was said before.
        RayUnavailableError: Ray cannot be started or reached.
        StoreUnavailableError: The journal cannot be opened.
    """
    for name, limit, least in (
        ("max_running_workflows", max_running_workflows, 1),
        ("max_pending_workflows", max_pending_workflows, 0),
    ):
        if limit is not None and (not isinstance(limit, int) or limit < least):
            raise ValueError(f"{name} is a number from {least} on, or None; not {limit!r}")
    if executor not in (None, "ray", "inline"):
        raise ValueError(f"executor is 'ray' or 'inline', not {executor!r}")
    said: dict[str, Any] = {
        "running": max_running_workflows,
        "pending": max_pending_workflows,
        "detached": detached,
        "executor": executor,
        "accept_code_change": accept_code_change,
        "settings": settings_of(settings) or None,
    }
    said = {name: value for name, value in said.items() if value is not None}
    with _lock:
        if _Current.session is not None:
            plan = _Current.session.plan
            if replace(plan, **said) != plan:
                differs = ", ".join(name for name, value in said.items() if getattr(plan, name) != value)
                raise ValueError(
                    f"workflow.init was called before with other values ({differs}); call workflow.shutdown() first"
                )
            return
        plan = Plan(**said)
        if plan.detached and plan.executor == "inline":
            raise ValueError("a detached actor drives workflows on Ray only")
        _open(plan)


def _open(plan: Plan) -> Session:
    if plan.executor == "ray":
        connect_ray(plan)
    _Current.session = Session(plan)
    if not _Current.registered:
        # After ray, which ends its connection at exit, too: what is registered last is called first.
        atexit.register(shutdown)
        _Current.registered = True
    return _Current.session


def connect_ray(plan: Plan) -> None:
    """Make this process a driver of Ray, unless it is one."""
    if not ray.is_initialized():
        found = load_settings(**plan.settings)
        _Current.connection = cluster.connect(found.ray_address, num_cpus=found.ray_cpus)
    context = ray.get_runtime_context()
    _Current.cluster = (str(context.gcs_address), str(context.get_job_id()))


def session(*, drives: bool = False) -> Session:
    """Return this process's session, opened if need be.

    Args:
        drives: Whether Ray is needed; a session whose Ray is gone, or is another by now, is opened anew then.

    Raises:
        ConflictError: Called in a task of a workflow.
    """
    try:
        inside = current_context().run_id
    except NotFoundError:
        inside = None
    if inside is not None:
        raise ConflictError(
            "a task of a workflow cannot use the API of workflows", hint="return workflow.continuation(dag) for more work"
        )
    with _lock:
        found = _Current.session
        if found is None:
            return _open(Plan())
        if drives and found.plan.executor == "ray" and not _is_same_ray():
            plan = found.plan
            shutdown()
            return _open(plan)
        return found


def _is_same_ray() -> bool:
    if not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return _Current.cluster == (str(context.gcs_address), str(context.get_job_id()))


def desk() -> Desk:
    """Return what makes object references of workflows' ends."""
    with _lock:
        if _Current.desk is None:
            _Current.desk = Desk(session())
        return _Current.desk


def shutdown(*, detached: bool = False) -> None:
    """Park what this process drives, which makes it resumable, and close everything. Idempotent.

    A Ray that `init` started is stopped. It happens by itself when the process ends.

    Args:
        detached: End the detached actor, too; what it drives is resumable then.
    """
    with _lock:
        if detached and _Current.session is not None and _Current.session.plan.detached:
            host(_Current.session.plan).stop()
        found, connection = _Current.session, _Current.connection
        _Current.session = _Current.desk = _Current.connection = _Current.cluster = None
        if found is not None:
            found.close()
        if connection is not None:
            connection.close()
