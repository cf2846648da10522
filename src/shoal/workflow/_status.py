"""The statuses of a workflow by the names that ray.workflow gave them."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import cast

from shoal.model.run import RunRecord, RunStatus


class WorkflowStatus(StrEnum):
    """Status of a workflow.

    `PENDING` waits for its turn; `RESUMABLE` was under way and nobody drives it any more.
    """

    RUNNING = "RUNNING"
    PENDING = "PENDING"
    FAILED = "FAILED"
    RESUMABLE = "RESUMABLE"
    CANCELED = "CANCELED"
    SUCCESSFUL = "SUCCESSFUL"


_ENDED = {
    RunStatus.SUCCEEDED: WorkflowStatus.SUCCESSFUL,
    RunStatus.FAILED: WorkflowStatus.FAILED,
    RunStatus.CANCELED: WorkflowStatus.CANCELED,
}


def status_of(run: RunRecord) -> WorkflowStatus:
    """Return the status of a run; a run of YAML has one, too."""
    if run.status in _ENDED:
        return _ENDED[run.status]
    if run.live:
        return WorkflowStatus.RUNNING
    return WorkflowStatus.PENDING if run.status is RunStatus.PENDING else WorkflowStatus.RESUMABLE


def wanted(given: object) -> frozenset[WorkflowStatus]:
    """Return a filter of statuses as a set.

    Raises:
        TypeError: It is neither a status, nor its name, nor a set of these.
        ValueError: There is no status of that name.
    """
    if given is None:
        return frozenset(WorkflowStatus)
    if isinstance(given, str):
        return frozenset((WorkflowStatus(given),))
    if isinstance(given, Collection):
        several = cast("Collection[object]", given)
        if all(isinstance(s, str) for s in several):
            return frozenset(WorkflowStatus(str(s)) for s in several)
    raise TypeError(f"a filter of statuses is a WorkflowStatus, its name, or a set of these; not {given!r}")
