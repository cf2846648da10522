"""Drives an engine over a store in memory, one input at a time, with an order and with crashes that a test chooses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from shoal.engine.decider import RunEngine
from shoal.engine.effects import CancelAttempts, CancelChild, Dispatch, DriveChild, Finished, Gather, SetTimer
from shoal.errors import RunCanceledError, StepFailedError
from shoal.model.attempts import Failed, Outcome, Succeeded
from shoal.model.ids import AttemptId, RunId, new_owner_id
from shoal.model.policies import Resources
from shoal.model.run import CancelCommand, NewRun, RunBatch, RunSpec, RunStatus
from shoal.model.values import Arguments
from shoal.model.workflow import Workflow
from shoal.ports import ClaimQuery
from shoal.runtime.values import BlobValues, from_memory, gather
from shoal.stores.memory import MemoryRunStore
from shoal.stores.memory_files import MemoryBlobStore
from shoal.testing.clock import FakeClock

Behaviour = Callable[[Dispatch], Outcome]


@dataclass
class Started:
    """One dispatch: where, which attempt, and which steps had a recorded result at that moment."""

    path: str
    number: int
    done: frozenset[str]


@dataclass
class Driver:
    """A world of one run.

    `order` picks the next thing to happen among those possible; `crash` says whether the owner dies before it.
    """

    workflow: Workflow
    behaviour: Behaviour
    order: random.Random
    crash_rate: float = 0.0
    inputs: Arguments = field(default_factory=lambda: Arguments({}))
    started: list[Started] = field(default_factory=list)
    crashes: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryRunStore(now=self.clock.now)
        self.blobs = MemoryBlobStore()
        self.values = BlobValues(self.blobs)
        self.run_id = RunId("r")
        self.engine: RunEngine | None = None
        self.open: dict[AttemptId, Dispatch] = {}
        self.timers: list[SetTimer] = []
        self.gathers: list[Gather] = []
        self.finished = False
        self.max_open = 0
        self.cancel_at: int | None = None
        self.happened = 0

    def slots(self, resources: Resources) -> int:
        return 2

    def play(self) -> None:
        """Run to the end, in a loop of its own."""
        asyncio.run(self._play())

    async def _play(self) -> None:
        spec = RunSpec(self.workflow, self.inputs)
        owner = new_owner_id()
        _, lease = await self.store.create(NewRun(self.run_id, spec, self.run_id), owner=owner)
        assert lease is not None
        self.epoch = lease.epoch
        await self.take_up(automatic=False)
        await self.to_the_end()

    async def take_up(self, *, automatic: bool, reopen: bool = False) -> None:
        self.open.clear()
        self.timers.clear()
        self.gathers.clear()
        snapshot = await self.store.snapshot(self.run_id)
        self.engine = RunEngine(
            snapshot,
            self.clock.now(),
            values=self.values,
            slots=self.slots,
            automatic=automatic,
            reopen=reopen,
            random=random.Random(1),
        )
        for entry in snapshot.inbox:
            self.engine.command(entry, self.clock.now())
        await self.settle()

    async def reclaim(self) -> None:
        run = await self.store.run(self.run_id)
        self.clock.advance(11)
        leases = await self.store.claim(new_owner_id(), ClaimQuery((run.root_id,)))
        self.epoch = leases[0].epoch

    async def settle(self) -> None:
        assert self.engine is not None
        decision = self.engine.decide()
        if decision.changes:
            batch = RunBatch(self.run_id, self.run_id, self.epoch, decision.changes)
            assert not await self.store.commit([batch])
        done = frozenset(str(s.path) for s in await self.store.steps(self.run_id) if s.status.value == "succeeded")
        for effect in decision.effects:
            match effect:
                case Dispatch():
                    self.started.append(Started(str(effect.path), effect.number, done))
                    self.open[effect.attempt_id] = effect
                    self.max_open = max(self.max_open, len(self.open))
                case CancelAttempts(attempts=attempts):
                    for attempt in attempts:
                        if self.open.pop(attempt, None):
                            error = RunCanceledError("canceled")
                            self.engine.attempt_ended(attempt, Failed(error), self.clock.now())
                    await self.settle()
                case SetTimer():
                    self.timers.append(effect)
                case Gather():
                    self.gathers.append(effect)
                case Finished():
                    self.finished = True
                case DriveChild() | CancelChild():
                    raise AssertionError("no sub-workflows here")

    async def to_the_end(self) -> None:
        for _ in range(20_000):
            if self.finished:
                return
            self.happened += 1
            if self.order.random() < self.crash_rate:
                self.crashes += 1
                await self.reclaim()
                await self.take_up(automatic=False)
                continue
            if self.cancel_at == self.happened:
                await self.store.post(self.run_id, CancelCommand())
                assert self.engine is not None
                for entry in await self.store.inbox([self.run_id]):
                    self.engine.command(entry, self.clock.now())
                await self.settle()
                continue
            await self.one()
        raise AssertionError("the run does not end")

    async def one(self) -> None:
        """Let one thing happen."""
        assert self.engine is not None
        if self.gathers:
            effect = self.gathers.pop(0)
            source = from_memory(effect.kept) if effect.kept is not None else self.store.item_results(self.run_id, effect.path)
            self.engine.gathered(effect.path, await gather(source, effect.count, self.blobs), self.clock.now())
        elif self.open:
            attempt = self.order.choice(list(self.open))
            dispatch = self.open.pop(attempt)
            self.engine.attempt_ended(attempt, self.behaviour(dispatch), self.clock.now())
        elif self.timers:
            timer = min(self.timers, key=lambda t: t.at)
            self.timers.remove(timer)
            self.clock.advance(max(0.0, (timer.at - self.clock.now()) / timedelta(seconds=1)))
            self.engine.timer(timer.path, timer.kind, self.clock.now())
        else:
            raise AssertionError("nothing can happen and the run has not ended")
        await self.settle()

    @property
    def status(self) -> RunStatus:
        return asyncio.run(self.store.run(self.run_id)).status

    def statuses(self) -> dict[str, str]:
        return {str(s.path): s.status.value for s in asyncio.run(self.store.steps(self.run_id))}


def raises(name: str = "ValueError") -> Failed:
    """Return the outcome of a tool that raised."""
    return Failed(StepFailedError("no", exception=name), (name,))


def returns(driver_values: BlobValues, **outputs: object) -> Succeeded:
    """Return the outcome of a tool that returned JSON."""
    return Succeeded({k: driver_values.store(v) for k, v in outputs.items()})  # type: ignore[arg-type]
