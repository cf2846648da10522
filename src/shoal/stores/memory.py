"""The journal in memory: the reference for what every store does, and the store of a first try without a disk.

Owns a plain reading of the contract, with no cleverness: tests hold the other stores against it. It serves one process; what
it holds ends with it.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shoal.errors import ConflictError, InternalError, NotFoundError, RunAlreadyExistsError
from shoal.faults import crash_point
from shoal.model.events import Event, describe
from shoal.model.ids import Digest, OwnerId, RunId, StepPath, split_item
from shoal.model.run import (
    AttemptChanged,
    AttemptRecord,
    CancelRecorded,
    Change,
    ChildCreated,
    Command,
    InboxEntry,
    InboxHandled,
    Lease,
    NewRun,
    Noted,
    ResumeCommand,
    RunBatch,
    RunChanged,
    RunEnded,
    RunRecord,
    RunSnapshot,
    RunSpec,
    RunStatus,
    ScopeOpened,
    ScopeRecord,
    StepChanged,
    StepProgressed,
    StepRecord,
    StepStatus,
    SuspectsChanged,
    ToolsLocked,
)
from shoal.model.values import Result
from shoal.ports import LEASE_TTL, ClaimQuery, RunQuery
from shoal.stores.doorbell import Doorbell
from shoal.stores.references import all_blobs, result_blobs


@dataclass(slots=True)
class _Held:
    owner: OwnerId | None = None
    epoch: int = 0
    taken_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(slots=True)
class _Run:
    record: RunRecord
    spec: RunSpec
    steps: dict[StepPath, StepRecord] = field(default_factory=dict[StepPath, StepRecord])
    attempts: dict[tuple[StepPath, int], AttemptRecord] = field(default_factory=dict[tuple[StepPath, int], AttemptRecord])
    scopes: dict[StepPath, ScopeRecord] = field(default_factory=dict[StepPath, ScopeRecord])
    events: list[Event] = field(default_factory=list[Event])
    blobs: set[Digest] = field(default_factory=set[Digest])


class MemoryRunStore:
    """A `RunStore` in the memory of one process."""

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        """Start empty.

        Args:
            now: Tells the time, in UTC; None: the machine's clock.
        """
        self._now = now or _utc_now
        self._runs: dict[RunId, _Run] = {}
        self._leases: dict[RunId, _Held] = {}
        self._inbox: dict[int, InboxEntry] = {}
        self._numbers = itertools.count(1)
        self._bell = Doorbell()
        self._alive: set[OwnerId] = set()
        self._owners: set[OwnerId] = set()

    def peer(self) -> MemoryRunStore:
        """Return another face of the same journal, as another process has one; closing it ends the owners it registered."""
        other = copy.copy(self)
        other._owners = set()  # noqa: SLF001 - it is one of us
        return other

    def now(self) -> datetime:
        """Return the time of this process."""
        return self._now()

    # ------------------------------------------------------------ writing

    async def create(self, run: NewRun, *, owner: OwnerId | None = None) -> tuple[RunRecord, Lease | None]:
        """See `RunStore.create`; for root runs: a child is created by its parent's `ChildCreated`."""
        if run.root_id != run.id:
            raise InternalError(f"the sub-workflow {run.id} can be created only by a commit of its parent")
        if owner is not None:
            self._register(owner)
        crash_point("create.before_commit")
        if run.id in self._runs:
            raise RunAlreadyExistsError(f"there is a run {run.id} already", hint="use another run id")
        now = self._now()
        self._add(run, now)
        held = self._leases[run.id] = _Held()
        lease = None if owner is None else self._take(run.id, held, owner, now, automatic=False)
        crash_point("create.after_commit")
        self._bell.ring()
        return self._record(self._runs[run.id]), lease

    def _add(self, run: NewRun, at: datetime) -> None:
        record = RunRecord(
            id=run.id,
            workflow_id=run.spec.workflow.id,
            root_id=run.root_id,
            status=RunStatus.PENDING,
            created_at=at,
            parent=run.parent,
            parked=run.parked,
            executor=run.spec.executor,
            fingerprint=run.spec.fingerprint,
            retry_of=run.retry_of,
            locks=run.locks,
        )
        new = self._runs[run.id] = _Run(record, run.spec, blobs=set(all_blobs((run.spec, run.locks))))
        self._log(new, RunChanged(RunStatus.PENDING, at))
        for step in run.steps:
            self._apply(new, StepChanged(step, at))

    async def commit(self, batches: Sequence[RunBatch]) -> frozenset[RunId]:
        """See `RunStore.commit`."""
        crash_point("commit.before")
        accepted, left_out = self._checked(batches)
        crash_point("commit.inside")
        for batch in accepted:
            run = self._runs[batch.run_id]
            for change in batch.changes:
                self._apply(run, change)
                self._log(run, change)
        crash_point("commit.after")
        self._bell.ring()
        return left_out

    def _checked(self, batches: Sequence[RunBatch]) -> tuple[list[RunBatch], frozenset[RunId]]:
        """Return the batches under a present lease, those of runs that an earlier one creates too, and who is left out."""
        roots = {run_id: run.record.root_id for run_id, run in self._runs.items()}
        accepted: list[RunBatch] = []
        left_out: set[RunId] = set()
        for batch in batches:
            held = self._leases.get(batch.root_id)
            if held is None or held.owner is None or held.epoch != batch.epoch or roots.get(batch.run_id) != batch.root_id:
                left_out.add(batch.run_id)
                continue
            accepted.append(batch)
            for child in (change.run for change in batch.changes if isinstance(change, ChildCreated)):
                if child.id in roots:
                    raise RunAlreadyExistsError(f"the sub-workflow {child.id} cannot be recorded: there is such a run already")
                roots[child.id] = child.root_id
        return accepted, frozenset(left_out)

    def _log(self, run: _Run, change: Change) -> None:
        event = describe(change)
        if event is not None:
            run.events.append(Event(run.record.id, len(run.events) + 1, *event))

    def _apply(self, run: _Run, change: Change) -> None:
        match change:
            case StepChanged():
                run.steps[change.step.path] = change.step
                run.blobs.update(result_blobs(change.step.result))
            case AttemptChanged():
                run.attempts[change.attempt.path, change.attempt.number] = change.attempt
            case StepProgressed():
                if change.path in run.steps:
                    run.steps[change.path] = dataclasses.replace(run.steps[change.path], progress=change.progress)
            case ScopeOpened():
                run.scopes[change.scope.owner] = change.scope
                run.blobs.update(all_blobs(change.scope))
            case ChildCreated():
                self._add(change.run, change.at)
            case InboxHandled():
                entry = self._inbox.get(change.seq)
                if entry is not None and entry.run_id == run.record.id:
                    del self._inbox[change.seq]
            case Noted():
                pass
            case _:
                run.record = _changed(run.record, change)
                if isinstance(change, RunEnded):
                    run.blobs.update(result_blobs(change.outputs))
                    if (held := self._leases.get(run.record.id)) is not None:
                        held.owner = held.taken_at = held.expires_at = None
                if isinstance(change, ToolsLocked):
                    run.blobs.update(all_blobs(change.locks))

    # ------------------------------------------------------------ reading

    def _find(self, run_id: RunId) -> _Run:
        if run_id not in self._runs:
            raise NotFoundError(f"there is no run {run_id}", hint="`shoal runs` lists them")
        return self._runs[run_id]

    def _record(self, run: _Run) -> RunRecord:
        return dataclasses.replace(run.record, live=self._live(self._leases.get(run.record.root_id)))

    def _live(self, held: _Held | None) -> bool:
        if held is None or held.owner is None or held.expires_at is None:
            return False
        return held.expires_at > self._now() and held.owner in self._alive

    async def run(self, run_id: RunId) -> RunRecord:
        """See `RunStore.run`."""
        return self._record(self._find(run_id))

    async def spec(self, run_id: RunId) -> RunSpec:
        """See `RunStore.spec`."""
        return self._find(run_id).spec

    async def runs(self, query: RunQuery) -> Sequence[RunRecord]:
        """See `RunStore.runs`."""
        order = list(self._runs)
        if query.before is not None:
            order = order[: order.index(query.before)] if query.before in self._runs else []
        found: list[RunRecord] = []
        for run in (self._runs[run_id].record for run_id in reversed(order)):
            if len(found) == query.limit:
                break
            right_status = not query.statuses or run.status in query.statuses
            right_workflow = query.workflow_id is None or run.workflow_id == query.workflow_id
            if right_status and right_workflow and (query.children or run.root_id == run.id):
                found.append(self._record(self._runs[run.id]))
        return found

    async def snapshot(self, run_id: RunId) -> RunSnapshot:
        """See `RunStore.snapshot`."""
        run = self._find(run_id)
        ended_items: dict[StepPath, dict[int, StepStatus]] = {}
        steps: list[StepRecord] = []
        for step in run.steps.values():
            item = split_item(step.path)
            if item is not None and step.status.ended:
                ended_items.setdefault(item[0], {})[item[1]] = step.status
            if item is None or step.status not in (StepStatus.SUCCEEDED, StepStatus.SKIPPED):
                steps.append(step)
        return RunSnapshot(
            run=self._record(run),
            spec=run.spec,
            steps=tuple(steps),
            ended_items=ended_items,
            attempts=tuple(attempt for attempt in run.attempts.values() if attempt.outcome is None),
            scopes=tuple(run.scopes.values()),
            inbox=tuple(await self.inbox([run_id])),
        )

    async def steps(self, run_id: RunId, *, items: bool = True) -> Sequence[StepRecord]:
        """See `RunStore.steps`."""
        steps = self._runs[run_id].steps.values() if run_id in self._runs else ()
        return [step for step in steps if items or split_item(step.path) is None]

    async def step(self, run_id: RunId, path: StepPath) -> StepRecord:
        """See `RunStore.step`."""
        run = self._runs.get(run_id)
        if run is None or path not in run.steps:
            raise NotFoundError(f"run {run_id} has no recorded step {path}", hint="`shoal show` lists its steps")
        return run.steps[path]

    async def attempts(self, run_id: RunId, path: StepPath | None = None) -> Sequence[AttemptRecord]:
        """See `RunStore.attempts`."""
        attempts = self._runs[run_id].attempts.values() if run_id in self._runs else ()
        return [attempt for attempt in attempts if path is None or attempt.path == path]

    async def item_results(self, run_id: RunId, path: StepPath) -> AsyncIterator[tuple[int, StepStatus, Result | None]]:
        """See `RunStore.item_results`."""
        found: list[tuple[int, StepRecord]] = []
        for step in await self.steps(run_id):
            item = split_item(step.path)
            if item is not None and item[0] == path:
                found.append((item[1], step))
        for index, step in sorted(found, key=lambda pair: pair[0]):
            yield index, step.status, step.result

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `RunStore.events`."""
        return self._runs[run_id].events[after : after + limit] if run_id in self._runs else []

    # ------------------------------------------------------------ leases

    async def claim(self, owner: OwnerId, query: ClaimQuery) -> Sequence[Lease]:
        """See `RunStore.claim`."""
        dead = [run_id for run_id, held in self._leases.items() if held.owner != owner and not self._live(held)]
        free = [run_id for run_id in dead if self._wanted(run_id, query)]
        if not free:
            return []
        self._register(owner)
        now = self._now()
        taken: list[Lease] = []
        for run_id in free[: query.limit]:
            held = self._leases[run_id]
            automatic = query.run_ids is None and held.owner is not None
            taken.append(self._take(run_id, held, owner, now, automatic=automatic))
            self._park(run_id, parked=False)
        crash_point("claim.after")
        self._bell.ring()
        return taken

    def _register(self, owner: OwnerId) -> None:
        if owner in self._alive and owner not in self._owners:
            raise ConflictError(f"the owner {owner} is alive elsewhere; every process needs an owner id of its own")
        self._alive.add(owner)
        self._owners.add(owner)

    def _wanted(self, run_id: RunId, query: ClaimQuery) -> bool:
        if query.run_ids is not None:
            return run_id in query.run_ids
        run = self._runs[run_id].record
        return not run.status.ended and not run.parked and run.fingerprint == query.fingerprint

    def _take(self, run_id: RunId, held: _Held, owner: OwnerId, now: datetime, *, automatic: bool) -> Lease:
        held.owner, held.epoch, held.taken_at, held.expires_at = owner, held.epoch + 1, now, now + LEASE_TTL
        return Lease(run_id, owner, held.epoch, held.expires_at, automatic)

    def _park(self, run_id: RunId, *, parked: bool) -> None:
        run = self._runs[run_id]
        run.record = dataclasses.replace(run.record, parked=parked)

    def renew(self, owner: OwnerId) -> None:
        """See `RunStore.renew`."""
        for held in list(self._leases.values()):
            if held.owner == owner:
                held.expires_at = self._now() + LEASE_TTL

    async def release(self, owner: OwnerId, run_ids: Sequence[RunId], *, park: bool) -> None:
        """See `RunStore.release`."""
        crash_point("release.before")
        for run_id in run_ids:
            held = self._leases.get(run_id)
            if held is not None and held.owner == owner:
                held.owner = held.taken_at = held.expires_at = None
                if park:
                    self._park(run_id, parked=True)
        self._bell.ring()

    async def oldest_lease(self) -> datetime | None:
        """See `RunStore.oldest_lease`."""
        taken = (held.taken_at for held in self._leases.values() if self._live(held))
        return min((time for time in taken if time is not None), default=None)

    # ------------------------------------------------------------ inbox

    async def post(self, run_id: RunId, command: Command) -> InboxEntry:
        """See `RunStore.post`."""
        self._find(run_id)
        entry = InboxEntry(next(self._numbers), run_id, command, self._now())
        self._inbox[entry.seq] = entry
        self._bell.ring()
        return entry

    async def inbox(self, run_ids: Sequence[RunId], *, after: int = 0) -> Sequence[InboxEntry]:
        """See `RunStore.inbox`."""
        return [entry for entry in self._inbox.values() if entry.run_id in run_ids and entry.seq > after]

    async def requests(self) -> Sequence[InboxEntry]:
        """See `RunStore.requests`."""
        return [
            entry
            for entry in self._inbox.values()
            if isinstance(entry.command, ResumeCommand)
            and not self._live(self._leases.get(self._runs[entry.run_id].record.root_id))
        ]

    async def wait(self, since: int | None, timeout: float) -> int:
        """See `RunStore.wait`."""
        return await self._bell.wait(since, timeout)

    # ------------------------------------------------------------ retention

    async def delete(self, run_id: RunId) -> None:
        """See `RunStore.delete`."""
        run = self._find(run_id)
        if self._live(self._leases.get(run.record.root_id)):
            raise ConflictError(f"run {run_id} is being driven", hint=f"`shoal cancel {run_id}` first")
        if run.record.root_id != run_id:
            root = run.record.root_id
            raise ConflictError(f"run {run_id} is a sub-workflow of run {root}", hint=f"`shoal delete {root}` deletes both")
        gone = {run_id}
        for other_id, other in self._runs.items():  # a child is always newer than its parent
            if other.record.parent is not None and other.record.parent.run_id in gone:
                gone.add(other_id)
        for gone_id in gone:
            del self._runs[gone_id]
            self._leases.pop(gone_id, None)
        for seq in [seq for seq, entry in self._inbox.items() if entry.run_id in gone]:
            del self._inbox[seq]
        self._bell.ring()

    async def prunable(self, *, older_than: datetime | None, keep: int | None) -> Sequence[RunId]:
        """See `RunStore.prunable`; runs with a live owner are left out."""
        kept: dict[str, int] = {}
        found: list[RunId] = []
        for run in (entry.record for entry in reversed(self._runs.values())):
            if run.root_id != run.id or not run.status.ended:
                continue
            kept[run.workflow_id] = kept.get(run.workflow_id, 0) + 1
            old = older_than is None or (run.finished_at is not None and run.finished_at < older_than)
            if kept[run.workflow_id] > (keep or 0) and old and not self._live(self._leases[run.id]):
                found.append(run.id)
        return found[::-1]

    async def referenced_blobs(self) -> frozenset[Digest]:
        """See `RunStore.referenced_blobs`."""
        named: Iterable[set[Digest]] = (run.blobs for run in self._runs.values())
        return frozenset[Digest]().union(*named)

    def close(self) -> None:
        """See `RunStore.close`."""
        self._alive -= self._owners
        self._owners.clear()


def _changed(run: RunRecord, change: RunChanged | RunEnded | CancelRecorded | ToolsLocked | SuspectsChanged) -> RunRecord:
    match change:
        case RunChanged():
            if change.reopened:
                run = dataclasses.replace(run, started_at=None, finished_at=None, outputs=None, error=None)
                run = dataclasses.replace(run, cancel_requested=False)
            began = run.started_at or (None if change.status is RunStatus.PENDING else change.at)
            return dataclasses.replace(run, status=change.status, started_at=began)
        case RunEnded():
            return dataclasses.replace(
                run, status=change.status, finished_at=change.at, outputs=change.outputs, error=change.error
            )
        case CancelRecorded():
            return dataclasses.replace(run, cancel_requested=True)
        case ToolsLocked():
            return dataclasses.replace(run, locks=change.locks)
        case SuspectsChanged():
            return dataclasses.replace(run, suspects=dict(change.suspects))


def _utc_now() -> datetime:
    return datetime.now(UTC)
