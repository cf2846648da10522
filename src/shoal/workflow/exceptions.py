"""What `shoal.workflow` raises under the names that ray.workflow had. All of it is in Shoal's own tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shoal.errors import ConflictError, NotFoundError, RunError, ShoalError, error_from_json


@dataclass(eq=False, repr=False)
class WorkflowError(ShoalError):
    """Base of the errors that tell of a workflow.

    Attributes:
        workflow_id: Which one.
    """

    code: ClassVar[str] = "workflow"
    workflow_id: str | None = field(default=None, kw_only=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle in a way that loads this module, so that the class is known wherever it arrives."""
        return (_rebuilt, (self.to_json(),))


def _rebuilt(data: Mapping[str, Any]) -> ShoalError:
    return error_from_json(data)


@dataclass(eq=False, repr=False)
class WorkflowExecutionError(WorkflowError, RunError):
    """A workflow failed; `__cause__` is the error of the task that failed.

    Attributes:
        failure: That error in its JSON form.
    """

    code: ClassVar[str] = "workflow_execution"
    failure: dict[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Restore the cause, also after a pickle."""
        super().__post_init__()
        if self.failure is not None:
            self.__cause__ = error_from_json(self.failure)


@dataclass(eq=False, repr=False)
class WorkflowCancellationError(WorkflowError, RunError):
    """A workflow was canceled, and has no output."""

    code: ClassVar[str] = "workflow_canceled"
    http_status: ClassVar[int] = 409


@dataclass(eq=False, repr=False)
class WorkflowNotFoundError(WorkflowError, NotFoundError):
    """There is no workflow of this id."""

    code: ClassVar[str] = "workflow_not_found"


@dataclass(eq=False, repr=False)
class WorkflowNotResumableError(WorkflowError, ConflictError):
    """A workflow cannot be resumed by itself: it is part of another."""

    code: ClassVar[str] = "workflow_not_resumable"


@dataclass(eq=False, repr=False)
class WorkflowTaskNotRecoverableError(WorkflowNotResumableError):
    """A task cannot be run again; kept for its name, since every recorded task can."""

    code: ClassVar[str] = "workflow_task_not_recoverable"


@dataclass(eq=False, repr=False)
class WorkflowStillActiveError(WorkflowError, ConflictError):
    """What was asked for does not go while the workflow runs or waits for its turn."""

    code: ClassVar[str] = "workflow_active"


@dataclass(eq=False, repr=False)
class TaskNotFoundError(WorkflowError, NotFoundError, ValueError):
    """A workflow has no task of this id, or the task was never executed, or its output was not stored."""

    code: ClassVar[str] = "task_not_found"
