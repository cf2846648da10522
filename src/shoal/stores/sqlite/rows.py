"""Rows of the journal to records and back.

Owns the form of every row but the SQL around it. Written by hand, not by `serial`, for steps, attempts and events: they
are what a commit of many steps and the resume of a large run spend their time on.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shoal.errors import error_from_json
from shoal.model.encoding import result_from_json, result_to_json
from shoal.model.events import Event
from shoal.model.ids import AttemptId, OwnerId, RunId, StepName, StepPath, WorkflowId, split_item
from shoal.model.run import (
    AttemptRecord,
    CancelCommand,
    Command,
    InboxEntry,
    ItemCounts,
    NewRun,
    Parent,
    ParkCommand,
    Progress,
    ResumeCommand,
    RunRecord,
    RunStatus,
    SignalCommand,
    StepRecord,
    StepStatus,
)
from shoal.model.serial import from_json, to_json
from shoal.model.tools import ToolLock
from shoal.model.values import Result

Row = tuple[Any, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
"""Escapes all that is not ASCII: a lone surrogate in a tool's message must not keep a commit from being written."""


def stamp(time: datetime) -> int:
    """Return a time as the journal keeps it: microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the time, in UTC, that `stamp` made a number of."""
    return _EPOCH + timedelta(microseconds=value)


def _stamp(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // _MICROSECOND


def _moment(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def document(value: object) -> str:
    """Return the JSON document of a model value."""
    return _encode(to_json(value))


def result_document(result: Result | None) -> str | None:
    """Return the JSON document of outputs; None for none."""
    return None if result is None else _encode(result_to_json(result))


def result_of(text: str | None) -> Result | None:
    """Return the outputs of a document."""
    return None if text is None else result_from_json(json.loads(text))


# ---------------------------------------------------------------- runs

RUN_COLUMNS: Final = (
    "id", "workflow_id", "root_id", "parent_id", "parent_path", "status", "created_at", "started_at", "finished_at",
    "parked", "cancel_requested", "executor", "fingerprint", "retry_of", "suspects", "outputs", "error",
)  # fmt: skip


def new_run_row(run: NewRun, at: datetime) -> dict[str, object]:
    """Return the values of a new run's row."""
    return {
        "id": run.id,
        "workflow_id": run.spec.workflow.id,
        "root_id": run.root_id,
        "parent_id": run.parent.run_id if run.parent else None,
        "parent_path": run.parent.path if run.parent else None,
        "status": RunStatus.PENDING.value,
        "created_at": stamp(at),
        "parked": run.parked,
        "cancel_requested": False,
        "executor": run.spec.executor,
        "fingerprint": run.spec.fingerprint,
        "retry_of": run.retry_of,
    }


def run_record(row: Row, locks: str | None, *, live: bool) -> RunRecord:
    """Return the run that a row of `RUN_COLUMNS` tells of."""
    (run_id, workflow_id, root_id, parent_id, parent_path, status, created_at, started_at, finished_at,
     parked, cancel_requested, executor, fingerprint, retry_of, suspects, outputs, error) = row  # fmt: skip
    return RunRecord(
        id=RunId(run_id),
        workflow_id=WorkflowId(workflow_id),
        root_id=RunId(root_id),
        status=RunStatus(status),
        created_at=moment(created_at),
        parent=Parent(RunId(parent_id), StepPath(parent_path)) if parent_id else None,
        started_at=_moment(started_at),
        finished_at=_moment(finished_at),
        outputs=result_of(outputs),
        error=error_from_json(json.loads(error)) if error else None,
        live=live,
        parked=bool(parked),
        cancel_requested=bool(cancel_requested),
        locks=_locks(locks) if locks else None,
        suspects=json.loads(suspects) if suspects else {},
        executor=executor,
        fingerprint=fingerprint,
        retry_of=RunId(retry_of) if retry_of else None,
    )


@functools.lru_cache(maxsize=64)
def _locks(text: str) -> tuple[ToolLock, ...]:
    """Read a document of locks, which is long and the same for all runs of a workflow."""
    return tuple(from_json(ToolLock, lock) for lock in json.loads(text))


# ---------------------------------------------------------------- steps

STEP_COLUMNS: Final = (
    "run_id", "path", "owner_path", "item_index", "name", "status", "attempts", "started_at", "finished_at", "wake_at",
    "more", "error", "progress", "result",
)  # fmt: skip
PROGRESS: Final = STEP_COLUMNS.index("progress")


def progress_document(progress: Progress | None) -> str | None:
    """Return the JSON document of what a tool reported."""
    return None if progress is None else _encode([progress.done, progress.total, progress.note])


def step_row(run_id: RunId, step: StepRecord) -> Row:
    """Return a step's row of `STEP_COLUMNS`."""
    item = split_item(step.path) if step.path[-1] == "]" else None
    owner_path, index = item or (None, None)
    return (
        run_id, step.path, owner_path, index, step.name, step.status.value, step.attempts,
        _stamp(step.started_at), _stamp(step.finished_at), _stamp(step.wake_at),
        _more(step), _encode(step.error.to_json()) if step.error is not None else None,
        progress_document(step.progress), result_document(step.result),
    )  # fmt: skip


def _more(step: StepRecord) -> str | None:
    found: dict[str, object] = {}
    if step.scope:
        found["scope"] = step.scope
    if step.entry != 1:
        found["entry"] = step.entry
    if step.exceptions:
        found["exceptions"] = step.exceptions
    if step.lost:
        found["lost"] = step.lost
    if step.out_of_memory:
        found["out_of_memory"] = step.out_of_memory
    if step.skip_reason is not None:
        found["skip_reason"] = step.skip_reason
    if step.child_run_id is not None:
        found["child_run_id"] = step.child_run_id
    if step.delegate is not None:
        found["delegate"] = step.delegate
    if step.spawned:
        found["spawned"] = step.spawned
    if step.items is not None:
        i = step.items
        found["items"] = [i.total, i.succeeded, i.failed, i.skipped, i.canceled]
    return _encode(found) if found else None


_STEP_STATUS: Final = {status.value: status for status in StepStatus}


def step_record(row: Row) -> StepRecord:
    """Return the step that a row of `STEP_COLUMNS` tells of."""
    _, path, _, _, name, status, attempts, started_at, finished_at, wake_at, more, error, progress, result = row
    rest: dict[str, Any] = json.loads(more) if more else {}
    if "items" in rest:
        rest["items"] = ItemCounts(*rest["items"])
    return StepRecord(
        path=StepPath(path),
        name=StepName(name),
        status=_STEP_STATUS[status],
        attempts=attempts,
        result=result_of(result),
        error=error_from_json(json.loads(error)) if error else None,
        started_at=_moment(started_at),
        finished_at=_moment(finished_at),
        wake_at=_moment(wake_at),
        progress=Progress(*json.loads(progress)) if progress else None,
        **rest,
    )


# ---------------------------------------------------------------- attempts, events, inbox

ATTEMPT_COLUMNS: Final = ("run_id", "path", "number", "id", "started_at", "finished_at", "outcome", "node", "error")


def attempt_row(run_id: RunId, attempt: AttemptRecord) -> Row:
    """Return an attempt's row of `ATTEMPT_COLUMNS`."""
    return (
        run_id, attempt.path, attempt.number, attempt.id, stamp(attempt.started_at), _stamp(attempt.finished_at),
        attempt.outcome, attempt.node, _encode(attempt.error.to_json()) if attempt.error is not None else None,
    )  # fmt: skip


def attempt_record(row: Row) -> AttemptRecord:
    """Return the attempt that a row of `ATTEMPT_COLUMNS` tells of."""
    _, path, number, attempt_id, started_at, finished_at, outcome, node, error = row
    return AttemptRecord(
        path=StepPath(path),
        number=number,
        id=AttemptId(attempt_id),
        started_at=moment(started_at),
        finished_at=_moment(finished_at),
        outcome=outcome,
        error=error_from_json(json.loads(error)) if error else None,
        node=node,
    )


EVENT_COLUMNS: Final = ("run_id", "seq", "name", "at", "path", "data")


def event_row(run_id: RunId, seq: int, event: tuple[str, datetime, StepPath | None, dict[str, Any]]) -> Row:
    """Return an event's row of `EVENT_COLUMNS` from what `describe` says."""
    name, at, path, data = event
    return (run_id, seq, name, stamp(at), path, _encode(data) if data else None)


def event_record(row: Row) -> Event:
    """Return the event that a row of `EVENT_COLUMNS` tells of."""
    run_id, seq, name, at, path, data = row
    return Event(
        RunId(run_id), seq, name, moment(at), StepPath(path) if path is not None else None, json.loads(data) if data else {}
    )


INBOX_COLUMNS: Final = ("seq", "run_id", "kind", "body", "at")
_COMMANDS: Final[Mapping[str, type[Command]]] = {
    command.kind: command for command in (CancelCommand, SignalCommand, ResumeCommand, ParkCommand)
}


def inbox_entry(row: Row) -> InboxEntry:
    """Return the entry that a row of `INBOX_COLUMNS` tells of."""
    seq, run_id, kind, body, at = row
    command = from_json(_COMMANDS[kind], json.loads(body))
    return InboxEntry(seq, RunId(run_id), command, moment(at))


def owner_of(value: str | None) -> OwnerId | None:
    """Return the owner of a lease's row."""
    return None if value is None else OwnerId(value)
