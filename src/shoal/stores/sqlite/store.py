"""The journal in one SQLite file: the store's face.

Owns the two connections (the loop's and the renewal's), the doorbell for changes, and the order of what happens around a
transaction. What the rows look like is in `rows`, what changes do in `recording`, who is alive in `owners`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from shoal.errors import ConflictError, InternalError, NotFoundError, RunAlreadyExistsError, StoreUnavailableError
from shoal.faults import crash_point
from shoal.model.events import Event
from shoal.model.ids import Digest, OwnerId, RunId, StepPath
from shoal.model.run import (
    AttemptRecord,
    Command,
    InboxEntry,
    Lease,
    NewRun,
    RunBatch,
    RunRecord,
    RunSnapshot,
    RunSpec,
    ScopeRecord,
    StepRecord,
    StepStatus,
)
from shoal.model.serial import from_json
from shoal.model.values import Result
from shoal.ports import LEASE_TTL, ClaimQuery, RunQuery
from shoal.stores.doorbell import Doorbell
from shoal.stores.sqlite import rows
from shoal.stores.sqlite import statements as sql
from shoal.stores.sqlite.connection import Connection
from shoal.stores.sqlite.migration import bring_up_to_date
from shoal.stores.sqlite.owners import OwnerLocks
from shoal.stores.sqlite.place import refuse_network
from shoal.stores.sqlite.recording import Fence, Recording

_PAGE: Final = 500
"""Items that `item_results` holds at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Creation:
    """A run that somebody waits to be recorded."""

    run: NewRun
    owner: OwnerId | None
    answer: asyncio.Future[tuple[RunRecord, Lease | None]]


class SqliteRunStore:
    """A `RunStore` in one SQLite file, for all processes of one host."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] | None = None) -> None:
        """Open a journal; it is made, with its folder, if it is not there, and brought up to date if it is older.

        Args:
            path: Of the file; beside it stand `-wal`, `-shm` and the folder `owners`.
            now: Tells the time, in UTC; None: the machine's clock.

        Raises:
            StoreUnavailableError: It cannot be used; the message says why and what to do.
        """
        self._now = now or _utc_now
        self._path = path
        refuse_network(path)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(f"the folder of the journal {path} cannot be made: {error.strerror}") from error
        self._owners = OwnerLocks(path.parent / "owners")
        self._renewal: Connection | None = None
        self._renewing = threading.Lock()
        self._db = Connection(path)
        try:
            bring_up_to_date(self._db, path, in_use=self._owners.sweep())
        except BaseException:
            self._db.close()
            raise
        self._bell = Doorbell(lambda: int(self._db.pragma("data_version")))
        self._creations: list[_Creation] = []
        self._closed = False

    def now(self) -> datetime:
        """Return the time of this host."""
        return self._now()

    # ------------------------------------------------------------ writing

    async def create(self, run: NewRun, *, owner: OwnerId | None = None) -> tuple[RunRecord, Lease | None]:
        """See `RunStore.create`; for root runs: a child is created by its parent's `ChildCreated`."""
        if run.root_id != run.id:
            raise InternalError(f"the sub-workflow {run.id} can be created only by a commit of its parent")
        if owner is not None:
            self._owners.register(owner)
        loop = asyncio.get_running_loop()
        creation = _Creation(run, owner, loop.create_future())
        self._creations.append(creation)
        if len(self._creations) == 1:
            loop.call_soon(self._create_all)  # those that are asked for in the same round of the loop share a commit
        return await creation.answer

    def _create_all(self) -> None:
        creations, self._creations = self._creations, []
        try:
            made = self._record_creations(creations)
        except Exception as error:  # noqa: BLE001 - everybody who waits gets it
            for creation in creations:
                if not creation.answer.done():
                    creation.answer.set_exception(error)
            return
        for creation in creations:
            if creation.answer.done():
                continue  # its caller gave up; the run may be recorded
            answer = made.get(creation)
            if answer is not None:
                creation.answer.set_result(answer)
            else:
                taken = RunAlreadyExistsError(f"there is a run {creation.run.id} already", hint="use another run id")
                creation.answer.set_exception(taken)

    def _record_creations(self, creations: Sequence[_Creation]) -> dict[_Creation, tuple[RunRecord, Lease | None]]:
        """Record new runs in one transaction; those whose id is taken are left out."""
        now = self._now()
        new: dict[RunId, _Creation] = {}
        crash_point("create.before_commit")
        with self._db.write():
            for creation in creations:
                if creation.run.id not in new and not self._exists(creation.run.id):
                    new[creation.run.id] = creation
            recording = Recording({}, self._exists)
            for creation in new.values():
                recording.create(creation.run, now, None)
            recording.write(self._db)
            for run_id, creation in new.items():
                held = creation.owner is not None
                at, until = (rows.stamp(now), rows.stamp(now + LEASE_TTL)) if held else (None, None)
                values = {"owner": creation.owner, "epoch": int(held), "taken_at": at, "expires_at": until}
                self._db.run(sql.INSERT_LEASE, run_id=run_id, **values)
        crash_point("create.after_commit")
        self._bell.ring()
        return {c: (self._run(c.run.id), _first_lease(c, now)) for c in new.values()}

    async def commit(self, batches: Sequence[RunBatch]) -> frozenset[RunId]:
        """See `RunStore.commit`; it commits on the calling thread (ADR 0005)."""
        if not batches:
            return frozenset()
        crash_point("commit.before")
        ids = json.dumps([batch.run_id for batch in batches])
        left_out: set[RunId] = set()
        with self._db.write():
            fences = {
                RunId(run_id): Fence(RunId(root_id), epoch if holder is not None else None, seq or 0)
                for run_id, root_id, epoch, holder, seq in self._db.all(sql.FENCES, ids=ids)
            }
            recording = Recording(fences, self._exists)
            for batch in batches:
                if not recording.add(batch):
                    left_out.add(batch.run_id)
            recording.write(self._db)
            crash_point("commit.inside")
        crash_point("commit.after")
        self._bell.ring()
        return frozenset(left_out)

    def _exists(self, run_id: RunId) -> bool:
        return self._db.one(sql.LEASE_OF_ROOT, run=run_id) is not None

    # ------------------------------------------------------------ reading

    async def run(self, run_id: RunId) -> RunRecord:
        """See `RunStore.run`."""
        return self._run(run_id)

    def _run(self, run_id: RunId) -> RunRecord:
        row = self._db.one(sql.RUN, run=run_id)
        if row is None:
            raise _no_run(run_id)
        return self._record(row)

    def _record(self, row: rows.Row) -> RunRecord:
        *columns, locks, owner, expires_at = row
        return rows.run_record(tuple(columns), locks, live=self._live(owner, expires_at))

    def _live(self, owner: str | None, expires_at: int | None) -> bool:
        if owner is None or expires_at is None:
            return False
        return expires_at > rows.stamp(self._now()) and self._owners.alive(OwnerId(owner))

    async def spec(self, run_id: RunId) -> RunSpec:
        """See `RunStore.spec`."""
        row = self._db.one(sql.SPEC, run=run_id)
        if row is None:
            raise _no_run(run_id)
        return from_json(RunSpec, json.loads(row[0]))

    async def runs(self, query: RunQuery) -> Sequence[RunRecord]:
        """See `RunStore.runs`."""
        found = self._db.all(
            sql.RUNS,
            statuses=json.dumps([s.value for s in query.statuses]) if query.statuses else None,
            workflow=query.workflow_id,
            children=query.children,
            before=query.before,
            most=query.limit,
        )
        return [self._record(row) for row in found]

    async def snapshot(self, run_id: RunId) -> RunSnapshot:
        """See `RunStore.snapshot`; one consistent state."""
        with self._db.read():
            run = await self.run(run_id)
            spec = await self.spec(run_id)
            steps = self._db.all(sql.STEPS_TO_GO_ON, run=run_id)
            ended = self._db.all(sql.ENDED_ITEMS, run=run_id)
            attempts = self._db.all(sql.OPEN_ATTEMPTS, run=run_id)
            scopes = self._db.all(sql.SCOPES, run=run_id)
            inbox = self._db.all(sql.INBOX, ids=json.dumps([run_id]), after=0)
        ended_items: dict[StepPath, dict[int, StepStatus]] = {}
        for owner_path, index, status in ended:
            ended_items.setdefault(owner_path, {})[index] = StepStatus(status)
        return RunSnapshot(
            run=run,
            spec=spec,
            steps=tuple(map(rows.step_record, steps)),
            ended_items=ended_items,
            attempts=tuple(map(rows.attempt_record, attempts)),
            scopes=tuple(from_json(ScopeRecord, json.loads(body)) for (body,) in scopes),
            inbox=tuple(map(rows.inbox_entry, inbox)),
        )

    async def steps(self, run_id: RunId, *, items: bool = True) -> Sequence[StepRecord]:
        """See `RunStore.steps`."""
        return [rows.step_record(row) for row in self._db.all(sql.STEPS if items else sql.STEPS_WITHOUT_ITEMS, run=run_id)]

    async def step(self, run_id: RunId, path: StepPath) -> StepRecord:
        """See `RunStore.step`."""
        row = self._db.one(sql.STEP, run=run_id, step=path)
        if row is None:
            raise NotFoundError(f"run {run_id} has no recorded step {path}", hint="`shoal show` lists its steps")
        return rows.step_record(row)

    async def attempts(self, run_id: RunId, path: StepPath | None = None) -> Sequence[AttemptRecord]:
        """See `RunStore.attempts`."""
        if path is None:
            return [rows.attempt_record(row) for row in self._db.all(sql.ATTEMPTS, run=run_id)]
        return [rows.attempt_record(row) for row in self._db.all(sql.STEP_ATTEMPTS, run=run_id, step=path)]

    async def item_results(self, run_id: RunId, path: StepPath) -> AsyncIterator[tuple[int, StepStatus, Result | None]]:
        """See `RunStore.item_results`; read in pages, so no transaction stays open between two items."""
        after = -1
        while page := self._db.all(sql.ITEM_RESULTS, run=run_id, step=path, after=after, most=_PAGE):
            for index, status, result in page:
                yield index, StepStatus(status), rows.result_of(result)
            after = page[-1][0]

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `RunStore.events`."""
        return [rows.event_record(row) for row in self._db.all(sql.EVENTS, run=run_id, after=after, most=limit)]

    # ------------------------------------------------------------ leases

    async def claim(self, owner: OwnerId, query: ClaimQuery) -> Sequence[Lease]:
        """See `RunStore.claim`; takes the write lock only if there is something to take."""
        if not self._claimable(owner, query):
            return []
        self._owners.register(owner)
        taken: list[Lease] = []
        with self._db.write():
            now = self._now()
            expires_at = now + LEASE_TTL
            for run_id, previous, epoch, _ in self._claimable(owner, query):
                automatic = query.run_ids is None and previous is not None
                taken.append(Lease(run_id, owner, epoch + 1, expires_at, automatic))
                self._db.run(sql.TAKE, run=run_id, who=owner, to=epoch + 1, at=rows.stamp(now), until=rows.stamp(expires_at))
                self._db.run(sql.SET_PARKED, run=run_id, rest=False)
        crash_point("claim.after")
        self._bell.ring()
        return taken

    def _claimable(self, owner: OwnerId, query: ClaimQuery) -> list[tuple[RunId, str | None, int, int | None]]:
        if query.run_ids is None:
            found = self._db.all(sql.ORPHANS, print=query.fingerprint)
        else:
            found = self._db.all(sql.LEASES_OF, ids=json.dumps(list(query.run_ids)))
        free = [lease for lease in found if lease[1] != owner and not self._live(lease[1], lease[3])]
        return cast("list[tuple[RunId, str | None, int, int | None]]", free[: query.limit])

    def renew(self, owner: OwnerId) -> None:
        """See `RunStore.renew`; on a connection of its own, so that the loop's transactions are not in its way."""
        with self._renewing:
            if self._closed:
                return
            if self._renewal is None:
                self._renewal = Connection(self._path)
            with self._renewal.write():
                self._renewal.run(sql.RENEW, who=owner, until=rows.stamp(self._now() + LEASE_TTL))

    async def release(self, owner: OwnerId, run_ids: Sequence[RunId], *, park: bool) -> None:
        """See `RunStore.release`."""
        crash_point("release.before")
        with self._db.write():
            for run_id in run_ids:
                if self._db.run(sql.RELEASE, run=run_id, who=owner) and park:
                    self._db.run(sql.SET_PARKED, run=run_id, rest=True)
        self._bell.ring()

    async def oldest_lease(self) -> datetime | None:
        """See `RunStore.oldest_lease`."""
        held = self._db.all(sql.HELD)
        return min((rows.moment(taken) for owner, until, taken in held if self._live(owner, until)), default=None)

    # ------------------------------------------------------------ inbox

    async def post(self, run_id: RunId, command: Command) -> InboxEntry:
        """See `RunStore.post`."""
        now = self._now()
        with self._db.write():
            if not self._exists(run_id):
                raise _no_run(run_id)
            row = self._db.one(sql.POST, run_id=run_id, kind=command.kind, body=rows.document(command), at=rows.stamp(now))
        self._bell.ring()
        return InboxEntry(cast("tuple[int]", row)[0], run_id, command, now)

    async def inbox(self, run_ids: Sequence[RunId], *, after: int = 0) -> Sequence[InboxEntry]:
        """See `RunStore.inbox`."""
        return [rows.inbox_entry(row) for row in self._db.all(sql.INBOX, ids=json.dumps(list(run_ids)), after=after)]

    async def requests(self) -> Sequence[InboxEntry]:
        """See `RunStore.requests`."""
        found = self._db.all(sql.REQUESTS)
        return [rows.inbox_entry(tuple(row)) for *row, owner, until in found if not self._live(owner, until)]

    async def wait(self, since: int | None, timeout: float) -> int:
        """See `RunStore.wait`; changes by this object are seen at once, those of others within 250 ms."""
        return await self._bell.wait(since, timeout)

    # ------------------------------------------------------------ retention

    async def delete(self, run_id: RunId) -> None:
        """See `RunStore.delete`."""
        with self._db.write():
            lease = self._db.one(sql.LEASE_OF_ROOT, run=run_id)
            if lease is None:
                raise _no_run(run_id)
            if self._live(*lease):
                raise ConflictError(f"run {run_id} is being driven", hint=f"`shoal cancel {run_id}` first")
            root = (await self.run(run_id)).root_id
            if root != run_id:
                raise ConflictError(f"run {run_id} is a sub-workflow of run {root}", hint=f"`shoal delete {root}` deletes both")
            self._db.run(sql.DELETE, run=run_id)
        self._bell.ring()

    async def prunable(self, *, older_than: datetime | None, keep: int | None) -> Sequence[RunId]:
        """See `RunStore.prunable`; runs with a live owner are left out."""
        before = None if older_than is None else rows.stamp(older_than)
        found = self._db.all(sql.PRUNABLE, before=before, keep=keep or 0)
        return [RunId(run_id) for run_id, owner, until in found if not self._live(owner, until)]

    async def referenced_blobs(self) -> frozenset[Digest]:
        """See `RunStore.referenced_blobs`."""
        return frozenset(Digest(digest) for (digest,) in self._db.all(sql.BLOBS))

    def close(self) -> None:
        """See `RunStore.close`."""
        with self._renewing:
            self._closed = True
            if self._renewal is not None:
                self._renewal.close()
        self._db.close()
        self._owners.close()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_run(run_id: RunId) -> NotFoundError:
    return NotFoundError(f"there is no run {run_id}", hint="`shoal runs` lists them")


def _first_lease(creation: _Creation, at: datetime) -> Lease | None:
    return None if creation.owner is None else Lease(creation.run.id, creation.owner, 1, at + LEASE_TTL)
