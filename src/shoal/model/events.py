"""Events: a run's ordered log, made from the changes that are committed with it.

Owns the names and payloads of events. The rows are the truth; an event tells of a change, in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from shoal.model.ids import RunId, StepPath
from shoal.model.run import (
    CancelRecorded,
    Change,
    ChildCreated,
    Noted,
    RunChanged,
    RunEnded,
    ScopeOpened,
    StepChanged,
    StepStatus,
    ToolsLocked,
)
from shoal.model.values import Json


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of a run's log.

    Attributes:
        seq: From 1 in each run, without gaps.
        name: `run.STATUS`, `run.canceling`, `run.locked`, `step.STATUS`, `step.retrying`, `step.spawned`,
            `step.child`, or the name of a note.
    """

    run_id: RunId
    seq: int
    name: str
    at: datetime
    path: StepPath | None = None
    data: dict[str, Json] = field(default_factory=dict[str, Json])


def describe(change: Change) -> tuple[str, datetime, StepPath | None, dict[str, Json]] | None:
    """Return name, time, path and data of the event that tells of a change; None for a change that makes none."""
    match change:
        case RunChanged():
            name = "run.reopened" if change.reopened else f"run.{change.status.value}"
            return (name, change.at, None, {})
        case RunEnded():
            data: dict[str, Json] = {"error": change.error.to_json()} if change.error else {}
            return (f"run.{change.status.value}", change.at, None, data)
        case CancelRecorded():
            return ("run.canceling", change.at, None, {})
        case ToolsLocked():
            return ("run.locked", change.at, None, {"tools": len(change.locks)})
        case StepChanged():
            return _describe_step(change)
        case ScopeOpened():
            scope = change.scope
            return ("step.spawned", change.at, scope.owner, {"first": scope.first, "steps": len(scope.workflow.steps)})
        case ChildCreated():
            path = change.run.parent.path if change.run.parent else None
            return ("step.child", change.at, path, {"run_id": change.run.id})
        case Noted():
            return (change.name, change.at, change.path, change.data)
        case _:
            return None


def _describe_step(change: StepChanged) -> tuple[str, datetime, StepPath | None, dict[str, Json]]:
    step = change.step
    data: dict[str, Json] = {"attempts": step.attempts}
    if step.error is not None and step.status is not StepStatus.RUNNING:
        data["error"] = step.error.to_json()
    if step.skip_reason:
        data["reason"] = step.skip_reason
    if step.wake_at is not None:
        data["wake_at"] = step.wake_at.isoformat()
    retrying = step.status is StepStatus.PENDING and step.attempts > 0
    return (f"step.{'retrying' if retrying else step.status.value}", change.at, step.path, data)
