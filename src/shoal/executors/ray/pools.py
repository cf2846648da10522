"""All pools of an executor: attempts to warm workers and back.

Owns how many workers there are: grown with what waits, within the cluster's CPUs; given up when idle, when somebody else
waits for their CPUs, when they are spent or lost. Every worker is an actor of this driver and ends with it. See ADR 0011.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from shoal.executors.before import Before
from shoal.executors.ray.arrivals import Arrivals
from shoal.executors.ray.board import Board
from shoal.executors.ray.calls import CallPacker
from shoal.executors.ray.capacity import Capacity
from shoal.executors.ray.flight import Flight
from shoal.executors.ray.library import end_actor, load_exceptions, load_ray
from shoal.executors.ray.line import Lines
from shoal.executors.ray.pool import Batch, Errand, Paces, Pool, PoolKey, WarmHandle
from shoal.executors.ray.tasks import interpreter, ray_options
from shoal.executors.ray.warm_worker import WarmWorker
from shoal.executors.wire import Reply, unpack_reply
from shoal.model.attempts import AttemptCall, Completion
from shoal.model.ids import AttemptId
from shoal.model.policies import Isolation, Resources
from shoal.model.tools import ToolLock

_log = structlog.get_logger("shoal.executors")

IDLE: Final = 30.0
"""Seconds after which an idle worker is given up."""

_TENURE: Final = 5.0
"""Seconds for which a busy worker is kept, whoever waits for its CPUs."""

_SPARE: Final = 2.0
"""Seconds for which an idle worker is kept, if another pool only wants more workers than it has."""

_GAP: Final = 0.5
"""Seconds for which an idle worker is kept, if others in the cluster wait for CPUs: a chain's gaps are shorter."""

_BACKLOG: Final = 0.25
"""Seconds of work below which what waits is not worth a further worker."""

_DEATHS: Final = 3
"""Workers lost in a row, none of which ended an attempt, after which a pool is closed for a while."""

_CLOSED: Final = 30.0
"""Seconds for which the attempts of a closed pool get Ray tasks of their own."""

_STARTING: Final = 4
"""Workers of one pool that may be starting at once."""

_FREE_SLOTS: Final = 32
"""Workers of a pool at most whose attempts take no CPU."""

_PARTING: Final = 0.5
"""Seconds that the loss of a worker waits for the end of its line: what it had sent before is not lost."""

TICK: Final = 0.25
"""Seconds between two looks at pools that no answer reminds of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the executor does with what comes back.

    Attributes:
        done: Takes the completion of an attempt, and what went before it.
        lost: Takes an attempt that ran in a worker that was lost, and Ray's error.
        stopped: Takes a canceled attempt that never began.
        alone: Takes an attempt that is to be carried by a Ray task.
        tasks_want: Returns the CPUs that Ray tasks under way take, and whether one of them has waited for long.
    """

    done: Callable[[Completion, Before], None]
    lost: Callable[[Flight, BaseException], None]
    stopped: Callable[[Flight], None]
    alone: Callable[[Flight], None]
    tasks_want: Callable[[], tuple[float, bool]]


def is_eligible(call: AttemptCall) -> bool:
    """Return whether a warm worker may carry a call."""
    return call.isolation is Isolation.POOL and not call.resources.gpus and not call.resources.custom


class Pools:
    """The `Carrier` of warm workers. Lives in the loop of its executor."""

    def __init__(self, *, kit: bytes, board: Board, lines: Lines, arrivals: Arrivals, capacity: Capacity, hooks: Hooks) -> None:
        self._kit: Final = kit
        self._lines: Final = lines
        self._partings: Final[set[asyncio.Task[None]]] = set()
        self._board: Final = board
        self._arrivals: Final = arrivals
        self._capacity: Final = capacity
        self._hooks: Final = hooks
        self._paces: Final = Paces()
        self._packer: Final = CallPacker()
        self._pools: Final[dict[PoolKey, Pool]] = {}
        self._spare: Final = Pool(PoolKey(None, Resources()))
        self._used = time.monotonic()
        self._no_spare_until = 0.0
        self._actor: Final[Any] = load_ray().remote(max_restarts=0, max_task_retries=0)(WarmWorker)
        self._closed = False

    # ------------------------------------------------------------ Carrier

    def send(self, flight: Flight) -> None:
        """Let an attempt wait for a worker; `feed` sends it."""
        call = flight.call
        pool = self._pool(call.environment.python if call.environment is not None else None, call.resources)
        self._used = time.monotonic()
        if pool.closed_until > time.monotonic():
            self._hooks.alone(flight)
        else:
            pool.waiting.append(flight)

    def drop(self, flight: Flight, grace: float) -> bool:
        """Take a canceled attempt back; one that a worker has is flagged instead."""
        if flight.batch is None:
            flight.dropped = True
            return True
        self._board.flag(flight.call.attempt_id, grace)
        return False

    def end(self, flight: Flight) -> None:
        """End the worker of an attempt; if it only waits behind another one there, it is taken from it."""
        batch = flight.batch
        if batch is None:
            return
        worker = batch.worker
        running = self._board.carried_by(worker.pid) if worker.visible and worker.pid is not None else None
        if running is not None and running != flight.call.attempt_id:
            batch.flights.pop(flight.call.attempt_id, None)
            self._hooks.stopped(flight)
        else:
            _kill(worker)

    def forget(self, attempt: AttemptId) -> None:
        """Remove the flag of an attempt that has ended."""
        self._board.unflag(attempt)

    # ------------------------------------------------------------ options, preparation

    def read(self, errand: Errand, python: str | None) -> None:
        """Let a worker of an environment, with the default resources, read the options of a tool."""
        pool = self._pool(python, Resources())
        if pool.closed_until > time.monotonic():
            errand.answer.set_result(None)
        else:
            pool.waiting.appendleft(errand)
            self.feed()

    def prepare(self, pythons: Iterable[str | None]) -> None:
        """Start a worker for each environment that has none, as long as CPUs are free and nothing waits."""
        for python in pythons:
            pool = self._pool(python, Resources())
            if any(p.waiting for p in self._pools.values()):
                return
            if not pool.workers and self._held() + pool.key.cpus <= self._capacity.cpus:
                self._start(pool)

    # ------------------------------------------------------------ out

    def feed(self) -> None:
        """Send what waits to workers that can take it; start and give up workers."""
        for pool in self._pools.values():
            if pool.waiting:
                self._feed(pool)

    def _pool(self, python: str | None, resources: Resources) -> Pool:
        key = PoolKey(python, resources)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
        return pool

    def _feed(self, pool: Pool) -> None:
        while pool.head() is not None and (worker := pool.free(self._paces)) is not None:
            self._hand_over(worker, pool.take(self._paces))
        pool.look()
        if pool.head() is not None:
            self._grow(pool)

    def _hand_over(self, worker: WarmHandle, jobs: Sequence[Flight | Errand]) -> None:
        flights = {job.call.attempt_id: job for job in jobs if isinstance(job, Flight)}
        errands = {place: job for place, job in enumerate(jobs) if isinstance(job, Errand)}
        batch = Batch(worker, flights, errands)
        batch.fast = not errands and all(self._paces.is_fast(f.call) for f in flights.values())
        if worker.batches:
            batch.ticket = os.urandom(8).hex()
            self._board.issue(batch.ticket)
        worker.batches.append(batch)
        for flight in flights.values():
            flight.batch = batch
        data: list[AttemptCall | ToolLock] = [job.call if isinstance(job, Flight) else job.tool for job in jobs]
        packed = self._packer.pack(data)
        if worker.line is not None:
            worker.line.send(batch.ticket, packed)
        else:
            self._arrivals.watch(worker.actor.carry.remote(packed, batch.ticket), partial(self._answered, batch))

    # ------------------------------------------------------------ back

    def _answered(self, batch: Batch, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None:
            self._failed(batch.worker, error)
        else:
            self._reply(batch.worker, future.result())

    def _reply(self, worker: WarmHandle, data: bytes) -> None:
        """Take the reply for the batch that a worker was sent first of those that it has not answered."""
        if not worker.batches:
            return  # it was given up meanwhile
        try:
            reply = unpack_reply(data)
        except Exception:  # noqa: BLE001 - a tool may have put anything in the place of what we pack with
            _log.warning("a worker that answers nonsense is ended", pid=worker.pid)
            self._failed(worker, load_exceptions().WorkerCrashedError())
            return
        batch = worker.batches.popleft()
        worker.idle_since = time.monotonic()
        worker.pool.deaths = 0
        self._completed(reply)
        for place, text in reply.options:
            errand = batch.errands.pop(place, None)
            if errand is not None and not errand.answer.done():
                errand.answer.set_result(text)
        self._let_wait(worker.pool, [*batch.flights.values(), *batch.errands.values()])
        if reply.retire:
            worker.retiring = True
        if worker.retiring and worker.idle:
            self._retire(worker)

    def _completed(self, reply: Reply) -> None:
        for completion, before in reply.completions:
            self._hooks.done(completion, before)

    def landed(self, flight: Flight, completion: Completion) -> None:
        """Note the end of an attempt that a worker carried."""
        if flight.batch is not None:
            flight.batch.flights.pop(completion.attempt_id, None)
        self._paces.learn(flight.call, completion)

    def given_back(self, data: bytes, flights: Callable[[AttemptId], Flight | None]) -> None:
        """Take what a worker gives back of a batch that takes longer than expected."""
        try:
            reply = unpack_reply(data)
        except Exception:  # noqa: BLE001 - a worker that packs nonsense is ended when its reply comes
            return
        self._completed(reply)
        back = [f for a in reply.returned if (f := flights(a)) is not None and f.batch is not None]
        for flight in back:
            if flight.batch is not None:
                flight.batch.flights.pop(flight.call.attempt_id, None)
        if back and back[0].batch is not None:
            self._let_wait(back[0].batch.worker.pool, back)
            self.feed()

    def is_long(self, flight: Flight) -> None:
        """Take back what waits at a worker for the end of an attempt that turned out long."""
        if flight.batch is None:
            return
        worker = flight.batch.worker
        for batch in worker.batches:
            if batch.ticket and batch is not flight.batch and self._board.revoke(batch.ticket):
                self._let_wait(worker.pool, [*batch.flights.values(), *batch.errands.values()])
                batch.flights.clear()
                batch.errands.clear()
                self.feed()

    def _let_wait(self, pool: Pool, jobs: Sequence[Flight | Errand]) -> None:
        """Let what has not begun wait again, before all others."""
        again: list[Flight | Errand] = []
        for job in jobs:
            if isinstance(job, Flight):
                job.batch = None
                if job.dropped or job.end is not None:
                    continue  # its end is here already
                if job.canceled:
                    self._hooks.stopped(job)
                elif job.alone:
                    self._hooks.alone(job)
                else:
                    again.append(job)
            else:
                again.append(job)
        pool.put_back(again)

    # ------------------------------------------------------------ losses

    def _served(self, worker: WarmHandle, future: Future[Any]) -> None:
        """Take leave of a worker whose line has ended, once all that it had sent is here."""
        if self._closed or (worker.ended and not worker.batches):
            return
        error = future.exception()
        if error is None:
            _kill(worker)  # it lives, and cannot be reached: a tool has closed what it did not open
        parting = asyncio.ensure_future(self._part(worker, error or load_exceptions().WorkerCrashedError()))
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)

    async def _part(self, worker: WarmHandle, error: BaseException) -> None:
        if worker.line is not None:
            await worker.line.ended(_PARTING)
            worker.line.close()
        self._arrivals.arrived(lambda: self._failed(worker, error))

    def _failed(self, worker: WarmHandle, error: BaseException) -> None:
        """Take leave of a worker: who ran in it has lost an attempt, who waited at it goes back free."""
        if worker.ended and not worker.batches:
            return
        batches = list(worker.batches)
        worker.batches.clear()
        self._bury(worker)
        _kill(worker)  # Ray tells of a loss, too, when it only cannot reach a worker
        for batch in batches:
            if batch.ticket:
                self._board.revoke(batch.ticket)
        flights = [f for b in batches for f in b.flights.values()]
        errands = [e for b in batches for e in b.errands.values()]
        running = self._who_ran(worker, flights)
        if running is None and not worker.visible:
            for flight in flights:
                flight.alone = True  # one of them may be to blame: each shows it by itself
        rest = [f for f in flights if f is not running]
        for errand in errands:
            errand.tries += 1
        gone = [e for e in errands if e.tries >= _DEATHS]
        for errand in gone:
            errand.answer.set_result(None)
        self._let_wait(worker.pool, [*[e for e in errands if e not in gone], *rest])
        worker.pool.deaths += 1
        if running is not None:
            self._hooks.lost(running, error)
        if worker.pool.deaths >= _DEATHS and running is None:
            self._close_for_now(worker.pool)

    def _who_ran(self, worker: WarmHandle, flights: Sequence[Flight]) -> Flight | None:
        doomed = next((f for f in flights if f.doom is not None), None)
        if doomed is not None:
            return doomed
        if worker.visible and worker.pid is not None:
            carried = self._board.carried_by(worker.pid)
            return next((f for f in flights if f.call.attempt_id == carried), None)
        return flights[0] if len(flights) == 1 else None

    def _greet(self, worker: WarmHandle) -> None:
        """Ask a worker who it is, and let it take on the overlay of its pool if it was not launched in it."""
        worker.greetings += 1
        key, launched = worker.pool.key, worker.pool.launches
        answer = worker.actor.greet.remote("" if launched or key.python is None else key.python)
        self._arrivals.watch(answer, partial(self._greeted, worker, worker.greetings))

    def _greeted(self, worker: WarmHandle, number: int, future: Future[Any]) -> None:
        error = future.exception()
        if worker.ended or (error is None and number != worker.greetings):
            return
        pool = worker.pool
        if error is not None:
            self._bury(worker)
            pool.deaths += 1
            if pool.deaths >= _DEATHS or isinstance(error, load_exceptions().RuntimeEnvSetupError):
                self._close_for_now(pool)
            return
        pid, _, worker.visible, token, refused = json.loads(future.result())
        worker.line = worker.line or self._lines.claim(token)
        if refused:
            pool.launches = True
            self._retire(worker)
            self._start(pool)
            return
        worker.pid = pid
        worker.ready_at = worker.idle_since = time.monotonic()
        if worker.retiring:
            self._retire(worker)
        elif pool is not self._spare and worker.line is not None:
            worker.line.listen(lambda data: self._arrivals.arrived(partial(self._reply, worker, data)))
            self._arrivals.watch(worker.actor.serve.remote(), partial(self._served, worker))

    def _close_for_now(self, pool: Pool) -> None:
        """Let tasks of their own carry what waits: there it shows what is wrong, and is charged for."""
        pool.closed_until = time.monotonic() + _CLOSED
        pool.deaths = 0
        jobs = list(pool.waiting)
        pool.waiting.clear()
        for job in jobs:
            if isinstance(job, Errand):
                job.answer.set_result(None)
            elif not job.dropped:
                self._hooks.alone(job)

    # ------------------------------------------------------------ how many

    def tick(self) -> None:
        """Look after what no answer reminds of: pools that wait for CPUs, workers that are idle."""
        now = time.monotonic()
        for pool in self._pools.values():
            pool.look()
            for worker in [w for w in pool.workers if w.idle and now - w.idle_since > IDLE]:
                self._retire(worker)
        if now - self._used > IDLE:
            self._drop_spare()
        self._make_room(now, wanted=self._capacity.wanted)
        self.feed()
        self.keep_spare()

    def _grow(self, pool: Pool) -> None:
        starting = sum(w.pid is None for w in pool.workers)
        backlog = pool.backlog(self._paces)
        if backlog is not None and backlog < _BACKLOG:
            return
        wanted = min(len(pool.waiting), _STARTING) - starting
        while wanted > 0 and self._may_start(pool):
            self._start(pool)
            wanted -= 1
        if not pool.ready():
            self._make_room(time.monotonic())

    def _may_start(self, pool: Pool) -> bool:
        if not pool.workers:
            return True  # Ray lets it wait for CPUs, in turn with tasks
        cpus = pool.key.cpus
        if self._takes_spare(pool):
            return len(pool.workers) < max(1, self._capacity.cpus // cpus)
        if not cpus:
            return len(pool.workers) < _FREE_SLOTS
        total = self._capacity.cpus
        return len(pool.workers) < max(1, total // cpus) and self._held() + cpus <= total

    def _held(self) -> float:
        """Return the CPUs that workers and tasks hold, or wait for."""
        ours = sum(len(p.workers) * p.key.cpus for p in (self._spare, *self._pools.values()))
        return ours + self._hooks.tasks_want()[0]

    def _make_room(self, now: float, *, wanted: bool = False) -> None:
        """Give up a worker for those who wait: pools without one, pools with work for more, tasks, others in the cluster."""
        pools = list(self._pools.values())
        short = [p for p in pools if p.short_since is not None]
        more = [p for p in pools if p.head() is not None and p.short_since is None]
        full = self._held() + min((p.key.cpus for p in more), default=0.0) > self._capacity.cpus
        pressing = wanted or self._hooks.tasks_want()[1] or bool(short)
        if not (wanted or (full and (pressing or more))):
            return
        if self._drop_spare():
            self._no_spare_until = now + IDLE
            return
        idle = [w for p in pools if p.head() is None for w in p.workers if w.idle and not w.retiring]
        if not pressing or wanted:
            spare = _SPARE if not pressing else _GAP
            idle = [w for w in idle if now - w.idle_since > spare]
        if idle:
            self._retire(min(idle, key=lambda w: w.idle_since))
        elif pressing and not any(w.retiring for p in pools for w in p.workers):
            self._let_one_go(now, [p for p in pools if p.short_since is None])

    def _let_one_go(self, now: float, pools: Sequence[Pool]) -> None:
        """Let a busy worker end after what it was sent, if it has been of use for long enough: starting one costs seconds."""
        old = [w for p in pools for w in p.workers if w.pid is not None and not w.idle and now - w.ready_at > _TENURE]
        if old:
            max(old, key=lambda w: (len(w.pool.workers), -w.ready_at)).retiring = True

    def _start(self, pool: Pool) -> None:
        if self._closed:
            return
        if self._takes_spare(pool):
            worker = self._spare.workers.pop()
            worker.pool, worker.pid = pool, None
        else:
            worker = WarmHandle(self._launch(pool), pool)
        pool.workers.append(worker)
        self._greet(worker)
        if pool is not self._spare:
            self.keep_spare()

    def _launch(self, pool: Pool) -> Any:
        place = interpreter(pool.key.python)
        if not pool.launches:
            place.pop("runtime_env", None)
        return self._actor.options(**ray_options(pool.key.resources), **place).remote(self._kit)

    # ------------------------------------------------------------ the spare worker

    def _takes_spare(self, pool: Pool) -> bool:
        return bool(self._spare.workers) and pool.key.resources == self._spare.key.resources and not pool.launches

    def keep_spare(self) -> None:
        """Keep one worker that belongs to no pool yet, while there is work, CPUs are free and nobody waits for any."""
        now = time.monotonic()
        held, total = self._held() + self._spare.key.cpus, self._capacity.cpus
        unwanted = now < max(self._no_spare_until, self._spare.closed_until) or now - self._used > IDLE
        if self._closed or self._spare.workers or unwanted or held > total or self._capacity.wanted:
            return
        if all(len(p.waiting) <= sum(w.pid is None for w in p.workers) for p in self._pools.values()):
            self._start(self._spare)

    def _drop_spare(self) -> bool:
        found = list(self._spare.workers)
        for worker in found:
            self._retire(worker)
        return bool(found)

    def _retire(self, worker: WarmHandle) -> None:
        self._bury(worker)
        if worker.line is not None:
            worker.line.close()
        _kill(worker)

    def _bury(self, worker: WarmHandle) -> None:
        worker.ended = True
        if worker in worker.pool.workers:
            worker.pool.workers.remove(worker)

    def workers(self) -> int:
        """Return how many workers there are."""
        return sum(len(p.workers) for p in (self._spare, *self._pools.values()))

    def close(self) -> None:
        """End all workers; none is started any more. Idempotent."""
        self._closed = True
        for pool in (self._spare, *self._pools.values()):
            for worker in list(pool.workers):
                self._retire(worker)
        self._pools.clear()
        for parting in self._partings:
            parting.cancel()
        self._lines.close()


def _kill(worker: WarmHandle) -> None:
    end_actor(worker.actor)
