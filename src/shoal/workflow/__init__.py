"""Durable DAGs of Ray tasks, from Python: the successor to ray.workflow. `from shoal import workflow`."""

from shoal.workflow import aio, event_listener, exceptions
from shoal.workflow._api import continuation, run, run_async
from shoal.workflow._current import init, shutdown
from shoal.workflow._endpoint import EventEndpoint, serve_events
from shoal.workflow._events import signal, sleep, wait_for_event, wait_for_signal
from shoal.workflow._management import (
    cancel,
    delete,
    get_metadata,
    get_output,
    get_output_async,
    get_status,
    list_all,
    resume,
    resume_all,
    resume_async,
)
from shoal.workflow._more import events, fork, map  # noqa: A004 - it is what it is called
from shoal.workflow._options import options
from shoal.workflow._status import WorkflowStatus
from shoal.workflow.event_listener import EventListener
from shoal.workflow.exceptions import (
    TaskNotFoundError,
    WorkflowCancellationError,
    WorkflowError,
    WorkflowExecutionError,
    WorkflowNotFoundError,
    WorkflowNotResumableError,
    WorkflowStillActiveError,
)

RUNNING = WorkflowStatus.RUNNING
PENDING = WorkflowStatus.PENDING
FAILED = WorkflowStatus.FAILED
RESUMABLE = WorkflowStatus.RESUMABLE
CANCELED = WorkflowStatus.CANCELED
SUCCESSFUL = WorkflowStatus.SUCCESSFUL

__all__ = [
    "CANCELED",
    "EventEndpoint",
    "EventListener",
    "FAILED",
    "PENDING",
    "RESUMABLE",
    "RUNNING",
    "SUCCESSFUL",
    "TaskNotFoundError",
    "WorkflowCancellationError",
    "WorkflowError",
    "WorkflowExecutionError",
    "WorkflowNotFoundError",
    "WorkflowNotResumableError",
    "WorkflowStatus",
    "WorkflowStillActiveError",
    "aio",
    "cancel",
    "continuation",
    "delete",
    "event_listener",
    "events",
    "exceptions",
    "fork",
    "get_metadata",
    "get_output",
    "get_output_async",
    "get_status",
    "init",
    "list_all",
    "map",
    "options",
    "resume",
    "resume_all",
    "resume_async",
    "run",
    "run_async",
    "serve_events",
    "shutdown",
    "signal",
    "sleep",
    "wait_for_event",
    "wait_for_signal",
]
