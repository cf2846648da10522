"""Batches of changes to rows.

Owns what each change means to the tables. A `Recording` gathers the rows of one commit, so that each table is written with
one statement for many rows; a row that changes twice in a commit is written once. See ADR 0005.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from sqlalchemy.sql import ClauseElement

from shoal.errors import RunAlreadyExistsError
from shoal.model.events import describe
from shoal.model.ids import Digest, RunId, StepPath
from shoal.model.run import (
    AttemptChanged,
    CancelRecorded,
    Change,
    ChildCreated,
    InboxHandled,
    NewRun,
    Noted,
    RunBatch,
    RunChanged,
    RunEnded,
    RunStatus,
    ScopeOpened,
    StepChanged,
    StepProgressed,
    SuspectsChanged,
    ToolsLocked,
)
from shoal.stores.references import all_blobs, result_blobs
from shoal.stores.sqlite import rows
from shoal.stores.sqlite import statements as sql
from shoal.stores.sqlite.connection import Connection
from shoal.stores.sqlite.rows import Row

CREATED = "run.pending"


@dataclass(slots=True)
class Fence:
    """What a batch of a run is checked against, and the number of the run's last event."""

    root_id: RunId
    epoch: int | None
    seq: int


class Recording:
    """The rows of one commit."""

    def __init__(self, fences: dict[RunId, Fence], exists: Callable[[RunId], bool]) -> None:
        """Start with the fences of the runs that there are; `exists` looks a run id up."""
        self._fences = fences
        self._exists = exists
        self._runs: list[Row] = []
        self._specs: list[Row] = []
        self._steps: dict[tuple[str, str], Row] = {}
        self._attempts: dict[tuple[str, str, int], Row] = {}
        self._events: list[Row] = []
        self._blobs: dict[tuple[str, str], None] = {}
        self._progress: dict[tuple[str, str], str | None] = {}
        self._others: list[tuple[ClauseElement, dict[str, object]]] = []

    def add(self, batch: RunBatch) -> bool:
        """Take a batch in; return false if its lease is not the present one or its run is gone."""
        fence = self._fences.get(batch.run_id)
        if fence is None or fence.root_id != batch.root_id or fence.epoch != batch.epoch:
            return False
        run_id = batch.run_id
        for change in batch.changes:
            self._change(run_id, change)
            event = describe(change)
            if event is not None:
                fence.seq += 1
                self._events.append(rows.event_row(run_id, fence.seq, event))
        return True

    def create(self, run: NewRun, at: datetime, epoch: int | None) -> None:
        """Take a new run in, with its event."""
        new = rows.new_run_row(run, at)
        self._runs.append(tuple(new[name] for name in sql.NEW_RUN_COLUMNS))
        self._specs.append((run.id, rows.document(run.spec)))
        self._events.append(rows.event_row(run.id, 1, (CREATED, at, None, {})))
        self._refer(run.id, all_blobs(run.spec))
        if run.locks is not None:
            self._later(sql.SET_LOCKS, run=run.id, tools=rows.document(run.locks))
            self._refer(run.id, all_blobs(run.locks))
        for step in run.steps:
            self._step(run.id, StepChanged(step, at))
        self._fences[run.id] = Fence(run.root_id, epoch, 1)

    def write(self, connection: Connection) -> None:
        """Write everything, in an order that the foreign keys allow."""
        if self._runs:
            connection.many(sql.INSERT_RUN, self._runs)
            connection.many(sql.INSERT_SPEC, self._specs)
        if self._steps:
            connection.many(sql.UPSERT_STEP, self._steps.values())
        if self._attempts:
            connection.many(sql.UPSERT_ATTEMPT, self._attempts.values())
        if self._progress:
            connection.many(sql.SET_PROGRESS, [(report, *key) for key, report in self._progress.items()])
        for statement, values in self._others:
            connection.run(statement, **values)
        if self._events:
            connection.many(sql.INSERT_EVENT, self._events)
        if self._blobs:
            connection.many(sql.INSERT_BLOB, self._blobs)

    def _change(self, run_id: RunId, change: Change) -> None:
        match change:
            case StepChanged():
                self._step(run_id, change)
            case AttemptChanged():
                attempt = change.attempt
                self._attempts[run_id, attempt.path, attempt.number] = rows.attempt_row(run_id, attempt)
            case StepProgressed():
                self._report(run_id, change.path, rows.progress_document(change.progress))
            case ScopeOpened():
                scope = change.scope
                self._later(sql.UPSERT_SCOPE, run_id=run_id, owner=scope.owner, body=rows.document(scope))
                self._refer(run_id, all_blobs(scope))
            case ChildCreated():
                self._child(run_id, change)
            case InboxHandled():
                self._later(sql.HANDLED, number=change.seq, run=run_id)
            case Noted():
                pass
            case _:
                self._run(run_id, change)

    def _run(self, run_id: RunId, change: RunChanged | RunEnded | CancelRecorded | ToolsLocked | SuspectsChanged) -> None:
        match change:
            case RunChanged():
                if change.reopened:
                    self._later(sql.REOPEN, run=run_id)
                began = None if change.status is RunStatus.PENDING else rows.stamp(change.at)
                self._later(sql.SET_STATUS, run=run_id, to=change.status.value, began=began)
            case RunEnded():
                why = rows.document(change.error) if change.error else None
                out = rows.result_document(change.outputs)
                self._later(sql.END, run=run_id, to=change.status.value, at=rows.stamp(change.at), out=out, why=why)
                self._later(sql.GIVE_UP, run=run_id)  # a sub-workflow has no lease of its own: nothing changes
                self._refer(run_id, result_blobs(change.outputs))
            case CancelRecorded():
                self._later(sql.SET_CANCEL, run=run_id)
            case ToolsLocked():
                self._later(sql.SET_LOCKS, run=run_id, tools=rows.document(change.locks))
                self._refer(run_id, all_blobs(change.locks))
            case SuspectsChanged():
                self._later(sql.SET_SUSPECTS, run=run_id, counts=rows.document(change.suspects))
            case _:
                assert_never(change)

    def _step(self, run_id: RunId, change: StepChanged) -> None:
        step = change.step
        key = (run_id, step.path)
        self._steps[key] = rows.step_row(run_id, step)
        if self._progress:
            self._progress.pop(key, None)
        if step.result:
            self._refer(run_id, result_blobs(step.result))

    def _report(self, run_id: RunId, path: StepPath, report: str | None) -> None:
        row = self._steps.get((run_id, path))
        if row is None:
            self._progress[run_id, path] = report
        else:
            self._steps[run_id, path] = (*row[: rows.PROGRESS], report, *row[rows.PROGRESS + 1 :])

    def _child(self, run_id: RunId, change: ChildCreated) -> None:
        child = change.run
        if child.id in self._fences or self._exists(child.id):
            raise RunAlreadyExistsError(f"the sub-workflow of {run_id} cannot be recorded: there is a run {child.id} already")
        self.create(child, change.at, self._fences[run_id].epoch)

    def _later(self, statement: ClauseElement, **values: object) -> None:
        self._others.append((statement, values))

    def _refer(self, run_id: RunId, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._blobs[run_id, digest] = None
