"""The orchestrator: one asyncio driver that turns inputs into decisions, commits them together, and carries them out.

Owns the turn: all inputs that have come in are handed to the engines of their runs, what follows is committed in one
transaction, and only then do effects leave. A commit that fails ends the orchestrator; its runs are resumable.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, assert_never

import structlog

from shoal.engine.decider import RunEngine
from shoal.engine.effects import (
    CANCEL_GRACE,
    CancelAttempts,
    CancelChild,
    Dispatch,
    DriveChild,
    Effect,
    Finished,
    Gather,
    SetTimer,
)
from shoal.errors import (
    InfrastructureError,
    InternalError,
    LeaseLostError,
    RayUnavailableError,
    ShoalError,
    StoreUnavailableError,
)
from shoal.faults import crash_point
from shoal.model.attempts import AttemptCall
from shoal.model.ids import OwnerId, RunId, StepPath
from shoal.model.run import (
    CancelCommand,
    CancelRecorded,
    InboxEntry,
    InboxHandled,
    Lease,
    NewRun,
    Noted,
    ParkCommand,
    ResumeCommand,
    RunBatch,
    RunChanged,
    RunEnded,
    RunRecord,
    RunSnapshot,
    RunStatus,
    ToolsLocked,
)
from shoal.ports import (
    BlobStore,
    ClaimQuery,
    Clock,
    EnvironmentProvider,
    LogStore,
    RunStore,
    SecretProvider,
    StepExecutor,
    ToolResolver,
)
from shoal.runtime.ahead import build_ahead
from shoal.runtime.attempts import Attempts
from shoal.runtime.dispatching import Dispatcher
from shoal.runtime.driven import Driven
from shoal.runtime.inputs import Inputs
from shoal.runtime.leases import LeaseKeeper
from shoal.runtime.preparation import check_run, check_tools, note_of, pin_tools
from shoal.runtime.timers import Timers
from shoal.runtime.values import BlobValues, from_memory, gather

TAKEOVER_INTERVAL: Final = 1.0
"""Seconds between looks for runs whose owner died."""

STOP_GRACE: Final = timedelta(seconds=2)
"""How long attempts may go on when their owner was told to stop."""

_log = structlog.get_logger("shoal.runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What an orchestrator stands on."""

    store: RunStore
    blobs: BlobStore
    logs: LogStore
    executor: StepExecutor
    resolver: ToolResolver
    environments: EnvironmentProvider
    secrets: SecretProvider
    clock: Clock
    host_tools: frozenset[str] = frozenset()


class Orchestrator:
    """Drives runs under leases of one owner."""

    def __init__(self, adapters: Adapters, owner: OwnerId, *, fingerprint: str = "", takes_over: bool = False) -> None:
        """Make an orchestrator; `start` it before use.

        Args:
            adapters: What it stands on; the executor is started and closed by it, the rest is the caller's.
            owner: Under whose name it holds leases; one for each orchestrator.
            fingerprint: Of the base environment; only runs started under it are taken over.
            takes_over: Whether it takes up, by itself, runs whose owner died and runs that clients ask for.
        """
        self._a = adapters
        self._owner = owner
        self._fingerprint = fingerprint
        self._takes_over = takes_over
        self._values = BlobValues(adapters.blobs)
        self._inputs = Inputs(self._give_up, self._blame)
        self._runs: dict[RunId, Driven] = {}
        self._timers = Timers(adapters.store.now, adapters.clock)
        self._leases = LeaseKeeper(adapters.store, owner)
        self._inbox_after = 0
        self._refused: set[int] = set()
        self._starting: set[asyncio.Task[RunRecord]] = set()
        self._failure: ShoalError | None = None
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        dispatcher = Dispatcher(
            adapters.store,
            adapters.executor,
            adapters.resolver,
            adapters.environments,
            adapters.secrets,
            self._values,
            adapters.host_tools,
            self._inputs.ring,
        )
        self._attempts = Attempts(adapters.executor, adapters.logs, adapters.store, dispatcher, self._leases, self._inputs)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Start the executor and begin to drive.

        Raises:
            RayUnavailableError: The executor cannot be started.
        """
        await self._a.executor.start()
        self._leases.start()
        hearing = (self._attempts.hear_completions(), self._attempts.hear_notices())
        for work in (self._turns(), self._timers.run(), self._watch_store(), *hearing):
            self._inputs.spawn(work)
        if self._takes_over:
            self._inputs.spawn(self._take_over())

    @property
    def failure(self) -> ShoalError | None:
        """Return why the orchestrator gave up; None while it has not."""
        return self._failure

    @property
    def driving(self) -> tuple[RunId, ...]:
        """Return the root runs that are being driven."""
        return tuple(run.id for run in self._runs.values() if run.root is run)

    def is_driving(self, run_id: RunId) -> bool:
        """Return whether a run, or sub-workflow, is being driven here."""
        return run_id in self._runs

    async def wait_left(self, run_id: RunId) -> None:
        """Wait until a run is not being driven here (any more), or the orchestrator gave up."""
        run = self._runs.get(run_id)
        if run is not None and self._failure is None:
            await run.left.wait()

    async def close(self, *, park: bool) -> None:
        """Stop in order: attempts get 2 s and are recorded as interrupted, leases are given back. Idempotent.

        Args:
            park: Whether the runs wait for an explicit resume, or may be taken over at once.
        """
        if self._closing:
            return
        self._closing = True
        if self._starting:
            await asyncio.wait(self._starting)
        for run in list(self._runs.values()):
            if run.root is run:
                self._park(run, park=park)
        if self._failure is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), STOP_GRACE.total_seconds() + 1.5)
        await self._inputs.stop()
        self._leases.stop()
        left = [run.id for run in self._runs.values() if run.root is run]
        if left:
            with contextlib.suppress(ShoalError):
                await self._a.store.release(self._owner, left, park=park)
        await self._a.executor.close(grace=timedelta(0))

    # ------------------------------------------------------------ runs

    async def start_run(self, new: NewRun) -> RunRecord:
        """Create a run and drive it; it is durable on return, and goes on even if the caller gave up waiting meanwhile.

        Raises:
            RunAlreadyExistsError: The id is taken.
        """
        # A task of its own: a caller that is canceled between the commit and its answer must not leave a run that we
        # hold a lease for and nobody drives.
        starting = asyncio.ensure_future(self._start_run(new))
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        return await asyncio.shield(starting)

    def _started(self, starting: asyncio.Task[RunRecord]) -> None:
        self._starting.discard(starting)
        if not starting.cancelled():
            starting.exception()  # its caller may be gone; then nobody is to be told

    async def _start_run(self, new: NewRun) -> RunRecord:
        record, lease = await self._a.store.create(new, owner=self._owner)
        if lease is None:
            raise LeaseLostError(f"the lease of run {new.id} was not given", hint="resume it")
        # Nobody has recorded anything for it since; what was put into its inbox is read when its engine is opened.
        snapshot = RunSnapshot(record, new.spec, (), {}, (), (), ())
        self._take(lease, snapshot, fresh=not new.steps)
        return record

    async def resume(self, run_id: RunId, *, accept_tool_change: bool = False) -> None:
        """Take up a run explicitly: one that nobody drives, or one that failed or was canceled.

        Raises:
            LeaseLostError: A live owner drives it.
            NotFoundError: There is none.
        """
        record = await self._a.store.run(run_id)
        leases = await self._a.store.claim(self._owner, ClaimQuery((record.root_id,), self._fingerprint))
        if not leases:
            raise LeaseLostError(f"run {run_id} is being driven by another process")
        await self._adopt(leases[0], accept_tool_change=accept_tool_change)

    async def _adopt(self, lease: Lease, *, accept_tool_change: bool = False) -> None:
        """Begin to drive a run whose lease was just taken; one that has succeeded is given back as it is."""
        store = self._a.store
        try:
            snapshot = await store.snapshot(lease.run_id)
        except StoreUnavailableError:
            raise
        except (ShoalError, ValueError) as error:
            _log.error("a run cannot be read", run=lease.run_id, error=str(error))
            await store.release(self._owner, [lease.run_id], park=True)
            return
        if snapshot.run.status is RunStatus.SUCCEEDED:
            handled = tuple(InboxHandled(entry.seq) for entry in snapshot.inbox)
            await store.commit([RunBatch(lease.run_id, lease.run_id, lease.epoch, handled)])
            await store.release(self._owner, [lease.run_id], park=False)
            return
        self._take(lease, snapshot, accept_tool_change=accept_tool_change)

    def _take(self, lease: Lease, snapshot: RunSnapshot, *, fresh: bool = False, accept_tool_change: bool = False) -> None:
        self._drop(self._runs.get(lease.run_id))
        run = Driven(snapshot.run, snapshot.spec, lease.epoch, taken_at=self._a.store.now(), automatic=lease.automatic)
        run.accept_tool_change = accept_tool_change
        # A request to resume is handled by taking the run up, whatever becomes of that; else it would come again at once.
        resumes = [entry for entry in snapshot.inbox if isinstance(entry.command, ResumeCommand)]
        run.pending.extend(InboxHandled(entry.seq) for entry in resumes)
        self._runs[run.id] = run
        self._idle.clear()
        self._inputs.spawn(self._prepare(run, snapshot if fresh else None), run)

    def _drives(self, run: Driven) -> bool:
        """Return whether this very taking up of the run is still the present one."""
        return self._runs.get(run.id) is run

    async def _prepare(self, run: Driven, fresh: RunSnapshot | None) -> None:
        """Pin the run's tools, or check those it is pinned to; then open its engine.

        Args:
            run: The run.
            fresh: What the journal holds of it but its inbox, if it was only just created.
        """
        await self._pin(run)
        self._inputs.spawn(build_ahead(self._a.environments, self._a.executor, tuple(run.locks.values())))
        if fresh is not None:
            fresh = replace(fresh, inbox=tuple(await self._a.store.inbox([run.id])))
        await self._open(run, fresh, automatic=run.automatic, reopen=run.record.status.ended)

    async def _pin(self, run: Driven) -> None:
        adapters, given = self._a, run.record.locks
        if given is None or run.record.started_at is None:
            check_run(run.spec, adapters.secrets, adapters.host_tools)
        checked = await check_tools(given or (), adapters.resolver, accept_change=run.accept_tool_change)
        run.locks = await pin_tools(run.spec, checked, adapters.resolver)
        use = run.spec.lock_file if run.record.started_at is None else None
        if tuple(run.locks.values()) != given or use is not None:
            run.pending.append(ToolsLocked(tuple(run.locks.values()), adapters.store.now()))
        if use is not None:
            run.pending.append(note_of(use, adapters.store.now()))

    def _blame(self, run: Driven, error: Exception) -> None:
        """End or give back the run that an error belongs to; without Ray the orchestrator ends, as when a commit fails."""
        if isinstance(error, RayUnavailableError):
            self._give_up(error)
        elif isinstance(error, InfrastructureError):
            self._give_back(run, error)
        elif isinstance(error, ShoalError):
            self._inputs.post(lambda: self._end_unopened(run, error), run)
        else:
            _log.error("a defect ends a run", run=run.id, error=repr(error))
            problem = InternalError(f"a defect of Shoal: {error!r}", hint="please report it")
            self._inputs.post(lambda: self._end_unopened(run, problem), run)

    def _end_unopened(self, run: Driven, error: ShoalError) -> Driven | None:
        if not self._drives(run):
            return None
        run.engine = None
        self._attempts.forget(run)
        now = self._a.store.now()
        if run.record.started_at is None:
            run.pending.append(RunChanged(RunStatus.RUNNING, now))
        run.pending.append(RunEnded(RunStatus.FAILED, now, None, error))
        run.over = True
        return run

    def _give_back(self, run: Driven, error: ShoalError) -> None:
        """Park a run for want of something it needs; it is resumable. An engine that is ahead of the journal is thrown away."""
        if not self._drives(run):
            return
        run.engine = None
        run.pending.append(Noted("run.unavailable", self._a.store.now(), data={"error": error.to_json()}))
        if run.record.started_at is None:
            run.pending.append(RunChanged(RunStatus.RUNNING, self._a.store.now()))
        self._park(run.root, park=True)

    async def _open(self, run: Driven, known: RunSnapshot | None = None, *, automatic: bool, reopen: bool) -> None:
        snapshot = known or await self._a.store.snapshot(run.id)

        def begin() -> Driven | None:
            if not self._drives(run):
                return None
            run.engine = RunEngine(
                snapshot,
                self._a.store.now(),
                values=self._values,
                slots=self._a.executor.slots,
                automatic=automatic,
                reopen=reopen,
            )
            if run.root.parking:
                run.engine.pause()
            if run.id in run.root.canceled_children:
                self._cancel_child(run.root, run.id)
            for entry in snapshot.inbox:
                self._command(run, entry)
            return run

        self._inputs.post(begin, run)

    # ------------------------------------------------------------ the turn

    def _give_up(self, error: ShoalError) -> None:
        if self._failure is None:
            self._failure = error
            _log.info("the orchestrator gave up", error=str(error))
        self._leases.end()  # what is held goes to whoever takes it; a lease that is renewed for nobody would be in the way
        self._idle.set()
        for run in self._runs.values():
            run.left.set()

    async def _turns(self) -> None:
        while self._failure is None:
            await self._inputs.wait()
            await self._turn()
            await asyncio.sleep(0)

    async def _turn(self) -> None:
        """Hand in all inputs, commit what follows, then let effects leave."""
        touched: dict[Driven, None] = {}
        while (queued := self._inputs.pop()) is not None:
            run = self._guard(*queued)
            if run is not None:
                touched[run] = None
        self._attempts.leave_progress(self._runs)
        touched.update((run, None) for run in self._runs.values() if run.pending)
        batches, effects = self._decide(touched)
        if batches:
            if any(isinstance(change, RunEnded) for batch in batches for change in batch.changes):
                crash_point("end.before_commit")
            refused = await self._a.store.commit(batches)
            for run in [run for run in touched if run.id in refused]:
                self._drop(run)
            if any(isinstance(change, CancelRecorded) for batch in batches for change in batch.changes):
                crash_point("cancel.recorded")
        calls: list[AttemptCall] = []
        for run, wanted in effects:
            for effect in wanted:
                if self._drives(run):
                    self._carry_out(run, effect, calls)
        self._attempts.release_held(self._runs, calls)
        self._attempts.submit(calls)
        await self._finish_parking(touched)

    def _guard(self, run: Driven | None, work: Callable[[], Driven | None]) -> Driven | None:
        """Hand in one input; a defect that it meets ends its run, not all runs."""
        try:
            return work()
        except Exception as error:
            if run is None:
                raise
            self._blame(run, error)
            return None

    def _decide(self, touched: Iterable[Driven]) -> tuple[list[RunBatch], list[tuple[Driven, Sequence[Effect]]]]:
        batches: list[RunBatch] = []
        effects: list[tuple[Driven, Sequence[Effect]]] = []
        for run in touched:
            if not self._drives(run):
                continue
            found: Sequence[Effect] = ()
            if run.engine is not None:
                try:
                    decision = run.engine.decide()
                    run.pending.extend(decision.changes)
                    found = decision.effects
                except Exception as error:  # noqa: BLE001 - a defect ends this run, not all runs
                    self._blame(run, error)
                    continue
            if run.over:
                found = (*found, Finished())
                run.over = False
            if found:
                effects.append((run, found))
            if run.pending:
                batches.append(RunBatch(run.id, run.root.id, run.epoch, tuple(run.pending)))
                run.pending.clear()
        return batches, effects

    def _carry_out(self, run: Driven, effect: Effect, calls: list[AttemptCall]) -> None:
        match effect:
            case Dispatch():
                self._attempts.dispatch(run, effect, calls)
            case CancelAttempts(attempts=attempts):
                self._attempts.cancel(run, attempts, CANCEL_GRACE)
            case SetTimer(path=path, at=at, kind=kind):
                self._timers.call_at(at, lambda: self._inputs.post(lambda: self._timer(run, path, kind), run))
            case DriveChild():
                self._inputs.spawn(self._drive_child(run, effect), run)
            case CancelChild(run_id=child):
                run.root.canceled_children.add(child)
                self._inputs.post(lambda: self._cancel_child(run.root, child), run)
            case Gather():
                self._inputs.spawn(self._gather(run, effect), run)
            case Finished():
                self._inputs.spawn(self._finished(run), run)
            case _:
                assert_never(effect)

    # ------------------------------------------------------------ other inputs

    def _timer(self, run: Driven, path: StepPath | None, kind: str) -> Driven | None:
        if not self._drives(run) or run.engine is None:
            return None
        run.engine.timer(path, kind, self._a.store.now())  # pyright: ignore[reportArgumentType]
        return run

    async def _gather(self, run: Driven, effect: Gather) -> None:
        kept = effect.kept
        items = from_memory(kept) if kept is not None else self._a.store.item_results(run.id, effect.path)
        result = await gather(items, effect.count, self._a.blobs)

        def tell() -> Driven | None:
            if not self._drives(run) or run.engine is None:
                return None
            run.engine.gathered(effect.path, result, self._a.store.now())
            return run

        self._inputs.post(tell, run)

    async def _drive_child(self, parent: Driven, effect: DriveChild) -> None:
        snapshot = await self._a.store.snapshot(effect.run_id)
        ended = snapshot.run.status.ended and not (effect.reopen and snapshot.run.status is not RunStatus.SUCCEEDED)
        if ended:
            self._tell_parent(parent, snapshot.run)
            return
        if not self._drives(parent):
            return
        child = Driven(snapshot.run, snapshot.spec, parent.epoch, parent.root)
        self._runs[child.id] = child
        automatic = parent.root.automatic and effect.new is None
        await self._open(child, automatic=automatic, reopen=snapshot.run.status.ended)

    def _tell_parent(self, parent: Driven, record: RunRecord) -> None:
        def tell() -> Driven | None:
            if parent.engine is None or not self._drives(parent):
                return None
            now = self._a.store.now()
            parent.engine.child_ended(record.id, record.status, record.outputs, record.error, now)
            return parent

        self._inputs.post(tell, parent)

    def _cancel_child(self, root: Driven, child: RunId) -> Driven | None:
        """Cancel a sub-workflow's run; one that is being opened is canceled when it is."""
        run = root.tree.get(child)
        if run is None or run.engine is None:
            return None
        run.engine.command(InboxEntry(0, child, CancelCommand(), self._a.store.now()), self._a.store.now())
        return run

    async def _watch_store(self) -> None:
        mark: int | None = None
        while True:
            mark = await self._a.store.wait(mark, 5.0)
            if not self._runs:
                continue
            for entry in await self._a.store.inbox(list(self._runs), after=self._inbox_after):
                self._inbox_after = max(self._inbox_after, entry.seq)
                run = self._runs.get(entry.run_id)
                if run is not None:
                    self._inputs.post(lambda run=run, entry=entry: self._command(run, entry), run)

    def _command(self, run: Driven, entry: InboxEntry) -> Driven | None:
        if entry.seq <= run.inbox_seen or not self._drives(run):
            return None
        if isinstance(entry.command, ParkCommand):
            run.inbox_seen = entry.seq
            run.pending.append(InboxHandled(entry.seq))
            if entry.at >= run.root.taken_at:  # one from before is for whoever drove it then
                self._park(run.root, park=True)
        elif isinstance(entry.command, CancelCommand) and run.record.status.ended and entry.at < run.root.taken_at:
            run.inbox_seen = entry.seq  # the run had ended before it could be canceled; now it was asked to go on
            run.pending.append(InboxHandled(entry.seq))
        elif run.engine is None:
            return None  # still in the snapshot that its engine will be opened from
        else:
            run.inbox_seen = entry.seq
            run.engine.command(entry, self._a.store.now())
        return run

    async def _take_over(self) -> None:
        store = self._a.store
        while not self._closing:
            for entry in await store.requests():
                if entry.seq not in self._refused:
                    await self._take_up(entry)
            for lease in await store.claim(self._owner, ClaimQuery(None, self._fingerprint)):
                await self._adopt(lease)
            await self._a.clock.sleep(TAKEOVER_INTERVAL)

    async def _take_up(self, entry: InboxEntry) -> None:
        """Resume a run for a client."""
        root_id = (await self._a.store.run(entry.run_id)).root_id
        for lease in await self._a.store.claim(self._owner, ClaimQuery((root_id,), self._fingerprint)):
            command = entry.command
            accept = isinstance(command, ResumeCommand) and command.accept_tool_change
            await self._adopt(lease, accept_tool_change=accept)
            if lease.run_id not in self._runs:
                self._refused.add(entry.seq)  # one that cannot be read is not tried again and again

    # ------------------------------------------------------------ ends

    async def _finished(self, run: Driven) -> None:
        """Leave a run whose end is committed, and with it its lease given back."""
        if run.root is not run:
            record = await self._a.store.run(run.id)
            if not self._drives(run):
                return
            if record.parent is not None and (parent := run.root.tree.get(record.parent.run_id)) is not None:
                self._tell_parent(parent, record)
        if self._drives(run):
            self._leave(run)

    def _park(self, run: Driven, *, park: bool) -> None:
        """Begin to give a run back; done once nothing of it is in flight."""
        run.parking, run.park = True, park
        for member in run.tree.values():
            if member.engine is not None:
                member.engine.pause()
            self._attempts.stop(member, STOP_GRACE)
        self._inputs.post(lambda: run)

    async def _finish_parking(self, touched: Iterable[Driven]) -> None:
        for root in {run.root: None for run in touched}:
            busy = any(member.attempts for member in root.tree.values())
            if not root.parking or busy or not self._drives(root):
                continue
            if any(member.pending for member in root.tree.values()):
                self._inputs.ring()
                continue
            self._drop(root)
            await self._a.store.release(self._owner, [root.id], park=root.park)

    def _drop(self, run: Driven | None) -> None:
        """Forget a run and its tree, whose lease is gone or given back; late results are refused by their ids."""
        if run is None:
            return
        for member in list(run.root.tree.values()):
            self._attempts.forget(member)
            self._leave(member)

    def _leave(self, run: Driven) -> None:
        if self._drives(run):
            del self._runs[run.id]
        run.root.tree.pop(run.id, None)
        run.engine = None  # timers may hold on to the run for long
        run.left.set()
        if not self._runs:
            self._idle.set()
