"""A pool: the warm workers of one environment and one set of resources, and what waits for them.

Owns which attempts go to which worker together. Decides nothing about how many workers there are (`pools`), and nothing
about what an attempt's end means (`executor`).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from shoal.executors.ray.flight import Flight
from shoal.executors.ray.line import Line
from shoal.model.attempts import AttemptCall, Completion
from shoal.model.ids import AttemptId
from shoal.model.policies import Resources
from shoal.model.tools import ToolLock

FAST: Final = 0.02
"""Seconds under which a tool's recent median must be for its attempts to share a batch, or to queue at a busy worker."""

BATCH_TIME: Final = 0.02
"""Seconds that the attempts of a batch are expected to take together."""

BATCH_SIZE: Final = 64
_RECENT: Final = 16
_ENOUGH: Final = 3


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What the workers of a pool have in common.

    Attributes:
        python: Their interpreter; None: the base environment's.
    """

    python: str | None
    resources: Resources

    @property
    def cpus(self) -> float:
        """Return the CPUs that a worker holds."""
        return 1.0 if self.resources.cpus is None else self.resources.cpus


@dataclass(slots=True, eq=False)
class Errand:
    """A tool whose options are to be read by a worker; answered with JSON, or `None` if no worker could be had."""

    tool: ToolLock
    answer: asyncio.Future[str | None]
    tries: int = 0


@dataclass(slots=True, eq=False)
class Batch:
    """What was sent to a worker together and is not answered.

    Attributes:
        flights: Those of its attempts that have not ended, in their order.
        errands: By their place in the batch.
        ticket: What the worker has to claim before it begins; empty: it was idle.
    """

    worker: WarmHandle
    flights: dict[AttemptId, Flight]
    errands: dict[int, Errand]
    ticket: str = ""
    fast: bool = False


@dataclass(slots=True, eq=False)
class WarmHandle:
    """A warm worker, as the driver knows it.

    Attributes:
        pid: Its process; None: it is not ready.
        visible: Whether it runs on this host and shows on the board.
        line: Its line; None: it is called by Ray.
        batches: What it was sent, in order; at most two.
        ready_at: Monotonic time at which it was ready.
        idle_since: Monotonic time of its last answer.
        retiring: It gets nothing more, and ends once it is idle.
    """

    actor: Any
    pool: Pool
    ready_at: float = 0.0
    pid: int | None = None
    visible: bool = False
    line: Line | None = None
    batches: deque[Batch] = field(default_factory=deque["Batch"])
    idle_since: float = 0.0
    retiring: bool = False
    ended: bool = False

    @property
    def idle(self) -> bool:
        """Return whether it is ready and has nothing to do."""
        return self.pid is not None and not self.batches

    def takes_more(self) -> bool:
        """Return whether one more batch of fast attempts may wait at it."""
        return self.pid is not None and self.visible and len(self.batches) == 1 and self.batches[0].fast


class Paces:
    """How long tools took lately."""

    def __init__(self) -> None:
        self._recent: Final[dict[str, deque[float]]] = {}
        self._medians: Final[dict[str, float]] = {}

    def learn(self, call: AttemptCall, completion: Completion) -> None:
        """Take in how long an attempt ran."""
        if completion.started_at is None or completion.finished_at is None:
            return
        target = call.tool.target
        recent = self._recent.get(target)
        if recent is None:
            recent = self._recent[target] = deque(maxlen=_RECENT)
        recent.append((completion.finished_at - completion.started_at).total_seconds())
        if len(recent) < _RECENT or target not in self._medians:
            if len(recent) >= _ENOUGH:
                self._medians[target] = statistics.median(recent)
        else:
            # Between two counts an exceptional time must show at once, a usual one need not.
            self._medians[target] = statistics.median(recent) if recent[-1] > FAST else self._medians[target]

    def of(self, call: AttemptCall) -> float | None:
        """Return the recent median of a call's tool, in seconds; None: not known yet."""
        return self._medians.get(call.tool.target)

    def is_fast(self, call: AttemptCall) -> bool:
        """Return whether a call may share a batch."""
        return self._medians.get(call.tool.target, FAST) < FAST


class Pool:
    """Warm workers that are alike, and what waits for them."""

    def __init__(self, key: PoolKey) -> None:
        self.key: Final = key
        self.waiting: Final[deque[Flight | Errand]] = deque()
        self.workers: Final[list[WarmHandle]] = []
        self.short_since: float | None = None
        self.deaths = 0
        self.closed_until = 0.0

    def put_back(self, jobs: Iterable[Flight | Errand]) -> None:
        """Let jobs wait again, before all others, in their order."""
        self.waiting.extendleft(reversed(list(jobs)))

    def head(self) -> Flight | Errand | None:
        """Return the first job that waits."""
        while self.waiting:
            job = self.waiting[0]
            if not (isinstance(job, Flight) and job.dropped):
                return job
            self.waiting.popleft()
        return None

    def free(self, paces: Paces) -> WarmHandle | None:
        """Return a worker for the first job that waits: an idle one, the last used first, or one that will soon be."""
        able = [w for w in self.workers if not w.retiring]
        idle = [w for w in able if w.idle]
        if idle:
            return max(idle, key=lambda w: w.idle_since)
        job = self.head()
        if isinstance(job, Flight) and paces.is_fast(job.call):
            return next((w for w in able if w.takes_more()), None)
        return None

    def take(self, paces: Paces) -> list[Flight | Errand]:
        """Take the next batch out of what waits: one job, or attempts that are expected to end within `BATCH_TIME`."""
        jobs = [self.waiting.popleft()]
        first = jobs[0]
        pace = paces.of(first.call) if isinstance(first, Flight) else None
        if pace is None or pace >= FAST:
            return jobs
        share = -(-(len(self.waiting) + 1) // max(1, sum(w.pid is not None for w in self.workers)))
        room = BATCH_TIME - pace
        while len(jobs) < min(BATCH_SIZE, share) and (job := self.head()) is not None:
            pace = paces.of(job.call) if isinstance(job, Flight) else None
            if pace is None or pace > room:
                break
            room -= pace
            jobs.append(self.waiting.popleft())
        return jobs

    def ready(self) -> int:
        """Return how many workers are up and stay."""
        return sum(w.pid is not None and not w.retiring for w in self.workers)

    def backlog(self, paces: Paces) -> float | None:
        """Return the seconds that its workers need for what waits, as far as that is known."""
        job, ready = self.head(), self.ready()
        if not isinstance(job, Flight) or not ready:
            return None
        pace = paces.of(job.call)
        return None if pace is None else pace * len(self.waiting) / ready

    def look(self) -> None:
        """Note since when something waits and no worker is ready."""
        if self.head() is None or self.ready():
            self.short_since = None
        elif self.short_since is None:
            self.short_since = time.monotonic()
