"""The Ray executor: warm workers where they can be had, else one Ray task an attempt.

Owns which way an attempt goes, and cancellation in three steps: what is queued is dropped, the flag in the mailbox is set,
and after the grace the worker ends. What an end means is `flights`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shoal.errors import RayUnavailableError
from shoal.executors.attempt import unstarted
from shoal.executors.ray import judgement
from shoal.executors.ray.arrivals import Arrivals
from shoal.executors.ray.board import Board
from shoal.executors.ray.capacity import Capacity
from shoal.executors.ray.cluster import NAMESPACE
from shoal.executors.ray.flight import Flight
from shoal.executors.ray.flights import SLACK, Flights
from shoal.executors.ray.library import load_exceptions, load_ray
from shoal.executors.ray.line import Lines
from shoal.executors.ray.listener import Listener
from shoal.executors.ray.pool import Errand
from shoal.executors.ray.pools import TICK, Hooks, Pools, is_eligible
from shoal.executors.ray.pulse import Pulse
from shoal.executors.ray.shared import SharedCarrier
from shoal.executors.ray.task_carrier import TaskCarrier
from shoal.executors.ray.tasks import Tasks
from shoal.executors.ray.worker import Kit, Limits
from shoal.model.attempts import AttemptCall, Completion, Notice
from shoal.model.ids import AttemptId, RunId, StepPath
from shoal.model.policies import Isolation, Resources
from shoal.model.serial import from_json
from shoal.model.tools import BuiltEnvironment, ToolLock, ToolOptions
from shoal.ports import BlobStore, ToolInvoker

_MANY: Final = 64
"""Attempts under way above which answers of Ray are taken in rounds."""

_END: Final = 2.0
"""Seconds, beside the grace, that a close waits for what it ends."""

_LOOK: Final = 1.0
"""Seconds between two looks at the cluster: its nodes, and who waits in it."""

_SUSPECTS: Final = 10_000
"""Steps remembered for having lost a worker; beyond, the oldest are forgotten."""


@dataclass(slots=True)
class _Parts:
    """What an executor has once it is started."""

    loop: asyncio.AbstractEventLoop
    flights: Flights
    board: Board
    reader: Tasks
    tasks: TaskCarrier
    shared: SharedCarrier
    pools: Pools
    listener: Listener
    pulse: Pulse
    ticking: asyncio.Task[None]


class RayExecutor:
    """The `StepExecutor` on Ray. The process must be a driver already (`cluster.connect`)."""

    def __init__(
        self,
        *,
        invoker: ToolInvoker,
        blobs: BlobStore,
        patience: timedelta = timedelta(0),
        namespace: str = NAMESPACE,
        limits: Limits | None = None,
        board: bool = True,
    ) -> None:
        """Make an executor; Ray is first touched by `start`.

        Args:
            invoker: Carries out attempts; travels to every worker once.
            blobs: Reads and keeps what clean child processes take and return; travels too.
            patience: How long an attempt that no node could carry waits for such a node; for clusters that grow.
            namespace: Ray namespace of the mailbox.
            limits: When warm workers retire.
            board: Whether workers of this host tell by a folder what they carry; if not, they are like those of other hosts.
        """
        self._name: Final = f"mailbox-{os.urandom(8).hex()}"
        self._invoker: Final = invoker
        self._blobs: Final = blobs
        self._namespace: Final = namespace
        self._patience: Final = patience.total_seconds()
        self._limits: Final = limits or Limits()
        self._on_board: Final = board
        self._capacity: Final = Capacity()
        self._awaiting: Final[set[asyncio.Task[None]]] = set()
        self._suspects: Final[dict[tuple[RunId, StepPath], None]] = {}
        self._parts: _Parts | None = None
        self._closed = False

    async def start(self) -> None:
        """Make ready. Raises `RayUnavailableError` if this process is no driver."""
        ray = load_ray()
        if not ray.is_initialized():
            raise RayUnavailableError(
                "this process is not connected to Ray", hint="call shoal.executors.ray.cluster.connect first"
            )
        loop = asyncio.get_running_loop()
        flights = Flights(loop, self)
        board = Board()
        folder = board.folder if self._on_board else ""
        kit = pickle.dumps(Kit(self._invoker, self._blobs, self._name, self._namespace, folder, self._limits), protocol=5)
        reader = Tasks(kit)
        arrivals = Arrivals(loop, busy=lambda: len(flights.under_way) > _MANY, after=self._after)
        tasks = TaskCarrier(reader, arrivals, done=flights.done, broken=flights.broken)
        shared = SharedCarrier(kit, arrivals, done=flights.done, broken=flights.broken)
        hooks = Hooks(
            done=flights.done, lost=flights.broken, stopped=flights.stopped, alone=self._send_alone, tasks_want=tasks.wants
        )
        lines = Lines(board.folder)
        await lines.open()
        await asyncio.to_thread(self._capacity.look)
        pools = Pools(kit=kit, board=board, lines=lines, arrivals=arrivals, capacity=self._capacity, hooks=hooks)
        listener = Listener(
            name=self._name,
            namespace=self._namespace,
            notice=flights.noticed,
            doom=flights.doomed,
            early=lambda data: pools.given_back(data, flights.under_way.get),
        )
        pulse = Pulse(address=str(ray.get_runtime_context().gcs_address), busy=self._is_busy, lost=flights.fail)
        listener.start()
        pulse.start()
        pools.keep_spare()
        ticking = loop.create_task(self._tick())
        self._parts = _Parts(loop, flights, board, reader, tasks, shared, pools, listener, pulse, ticking)

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Begin attempts."""
        parts = self._started
        for call in calls:
            flight = parts.flights.begin(call)
            if self._capacity.fits(call.resources):
                self._send(flight)
            else:
                waiting = parts.loop.create_task(self._await_node(flight))
                self._awaiting.add(waiting)
                waiting.add_done_callback(self._awaiting.discard)
        parts.pools.feed()

    async def completions(self) -> Sequence[Completion]:
        """Return what has ended. Raises `RayUnavailableError` once Ray is gone; nothing ends any more then."""
        return await self._started.flights.completions.take()

    async def notices(self) -> Sequence[Notice]:
        """Return what attempts let us know."""
        return await self._started.flights.notices.take()

    def cancel(self, attempts: Sequence[AttemptId], *, grace: timedelta) -> None:
        """Set cancel flags; what is queued ends at once, what has not yielded after `grace` with its worker."""
        parts = self._parts
        if parts is None:
            return
        seconds = grace.total_seconds()
        flights = [flight for a in attempts if (flight := parts.flights.under_way.get(a)) is not None]
        flagged: list[Flight] = []
        for flight in flights:
            flight.canceled = True
            if flight.carrier is None or flight.carrier.drop(flight, seconds):
                parts.flights.stopped(flight)
            else:
                flagged.append(flight)
        if flagged:
            parts.listener.flag({f.call.attempt_id: seconds for f in flagged})
            parts.loop.call_later(seconds + SLACK, parts.flights.force, flagged)

    def slots(self, resources: Resources) -> int:
        """Return the CPUs of the cluster over those of an attempt."""
        return max(1, int(self._capacity.cpus // (resources.cpus or 1)))

    def prepare(self, environments: Sequence[BuiltEnvironment]) -> None:
        """Start a warm worker in each environment while CPUs are free and nothing waits for one."""
        self._started.pools.prepare([environment.python for environment in environments])

    async def options(self, tool: ToolLock, environment: BuiltEnvironment | None) -> ToolOptions:
        """Return the options of a tool, read by a worker of its environment; a clean environment has no Ray, and so none."""
        parts = self._parts
        if parts is None or (tool.environment is not None and tool.environment.kind == "process"):
            return ToolOptions()
        python = environment.python if environment is not None else None
        text = await self._read_warm(parts, tool, python)
        try:
            text = text or str(await parts.reader.reader(python).remote(pickle.dumps(tool, protocol=5)))
            return from_json(ToolOptions, json.loads(text))
        except load_exceptions().RayError:
            return ToolOptions()  # its attempt will meet what was met here

    async def _read_warm(self, parts: _Parts, tool: ToolLock, python: str | None) -> str | None:
        errand = Errand(tool, parts.loop.create_future())
        parts.pools.read(errand, python)
        return await errand.answer

    async def describe(self) -> Mapping[str, str]:
        """Return what it stands on."""
        ray = load_ray()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        parts = self._started
        return {
            "executor": "ray",
            "ray": str(ray.__version__),
            "address": str(ray.get_runtime_context().gcs_address),
            "nodes": str(len(nodes)),
            "cpus": f"{ray.cluster_resources().get('CPU', 0):g}",
            "running": str(len(parts.flights.under_way)),
            "workers": str(parts.pools.workers()),
        }

    async def close(self, *, grace: timedelta) -> None:
        """Cancel what runs, wait for it, end it and the warm workers, give up the mailbox. Ray itself stays as it is."""
        parts = self._parts
        if self._closed or parts is None:
            self._closed = True
            return
        self._closed = True
        under_way = parts.flights.under_way
        if load_ray().is_initialized() and parts.flights.completions.error is None:
            self.cancel(list(under_way), grace=grace)
            end = time.monotonic() + grace.total_seconds() + _END
            while under_way and time.monotonic() < end:  # noqa: ASYNC110 - completions arrive from another thread
                await asyncio.sleep(0.02)
            parts.flights.force(list(under_way.values()))
            for flight in under_way.values():
                self.kill(flight.call.attempt_id)
            parts.pools.close()
            parts.shared.close()
        under_way.clear()
        ours = (parts.ticking, *self._awaiting)
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)
        await parts.pulse.stop()
        await parts.listener.stop()
        parts.board.close()

    # ------------------------------------------------------------ what becomes of attempts (`Ends`)

    def landed(self, flight: Flight, completion: Completion) -> None:
        """Forget what was kept for an attempt."""
        parts = self._started
        if flight.carrier is parts.pools:
            parts.pools.landed(flight, completion)
        elif self._suspects:
            self._suspects.pop((flight.call.run_id, flight.call.path), None)
        parts.tasks.forget(flight)
        if flight.canceled:
            parts.pools.forget(completion.attempt_id)
            parts.listener.forget(completion.attempt_id)

    def lost(self, flight: Flight) -> None:
        """Remember a step that lost a warm worker: its next attempt runs alone."""
        if flight.carrier is self._started.pools:
            if len(self._suspects) >= _SUSPECTS:
                self._suspects.pop(next(iter(self._suspects)))
            self._suspects[flight.call.run_id, flight.call.path] = None

    def is_long(self, flight: Flight) -> None:
        """Let nothing wait behind an attempt that is no short one."""
        self._started.pools.is_long(flight)

    def kill(self, attempt: AttemptId) -> None:
        """End a worker of this host by its process."""
        self._started.board.kill(attempt)

    def began(self, attempt: AttemptId) -> float | None:
        """Return when a worker of this host began an attempt."""
        return self._started.board.began(attempt)

    # ------------------------------------------------------------ ways

    @property
    def _started(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the executor was not started")
        return self._parts

    def _is_busy(self) -> bool:
        return self._parts is not None and bool(self._parts.flights.under_way)

    def _after(self) -> None:
        parts = self._started
        parts.pools.feed()
        parts.flights.flush()

    async def _tick(self) -> None:
        """Look at the pools a few times a second, and at the cluster, in a thread, while there is something to carry."""
        looked = 0.0
        while True:
            await asyncio.sleep(TICK)
            parts = self._started
            if (parts.pools.workers() or parts.flights.under_way) and time.monotonic() - looked > _LOOK:
                await asyncio.to_thread(self._capacity.look)
                looked = time.monotonic()
                parts.flights.look(parts.board.carried())
                if self._capacity.is_cut_off:
                    parts.flights.cut_off()
                    return
            parts.pools.tick()

    async def _await_node(self, flight: Flight) -> None:
        """Send an attempt as soon as some node could carry it; end it if none could for as long as we have patience."""
        parts = self._started
        until = time.monotonic() + self._patience
        while flight.call.attempt_id in parts.flights.under_way:
            await asyncio.to_thread(self._capacity.look)
            missing = self._capacity.shortage(flight.call.resources)
            if flight.call.attempt_id not in parts.flights.under_way:
                return
            if missing is None:
                self._send(flight)
                parts.pools.feed()
                return
            if time.monotonic() >= until:
                parts.flights.finish(flight, unstarted(flight.call, judgement.unschedulable(flight.call, missing)))
                return
            await asyncio.sleep(_LOOK)

    def _send(self, flight: Flight) -> None:
        call = flight.call
        if call.isolation is Isolation.SHARED:
            flight.sent = time.monotonic()
            flight.carrier = self._started.shared
            flight.carrier.send(flight)
            return
        suspect = bool(self._suspects) and (call.run_id, call.path) in self._suspects
        if not suspect and is_eligible(call):
            flight.sent = time.monotonic()
            flight.carrier = self._started.pools
            flight.carrier.send(flight)
        else:
            self._send_alone(flight)

    def _send_alone(self, flight: Flight) -> None:
        flight.sent = time.monotonic()
        flight.batch = None
        flight.carrier = self._started.tasks
        flight.carrier.send(flight)
