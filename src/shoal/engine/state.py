"""The state of one run in memory, and the outbox of what follows from a change.

Owns the mutable state that the engine's modules share. It can be rebuilt at any time from a `RunSnapshot`. Ended items of a
`foreach` leave only a byte behind, collapsed continuations nothing, so memory follows what is alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from random import Random
from typing import Protocol

from shoal.engine.effects import Effect
from shoal.errors import ShoalError
from shoal.model.ids import AttemptId, RunId, StepName, StepPath
from shoal.model.policies import Resources
from shoal.model.run import Change, ItemCounts, RunSpec, RunStatus, SkipReason, StepChanged, StepRecord, StepStatus
from shoal.model.tools import ToolOptions, ToolReference
from shoal.model.values import Arguments, Json, Result, Value
from shoal.model.workflow import Constant, Step, Workflow


class Values(Protocol):
    """Reading and making values; immutable content, so decisions stay a function of the state and the change."""

    def load(self, value: Value) -> Json:
        """Return the JSON of a value; raises `ExpressionError` for a pickle or one over the limit."""
        ...

    def items(self, value: Value) -> Sequence[Value]:
        """Return the values that a manifest lists, none of them decoded."""
        ...

    def store(self, value: Json) -> Value:
        """Return JSON as a value; durable on return if it is large."""
        ...


class Todo(Enum):
    """A follow-up within one decision."""

    CONSIDER = 1
    """The step's needs have ended: start or skip it."""
    ENDED = 2
    """The step has ended: tell its loop, its dependents, its scope."""
    ADVANCE = 3
    """The loop may start further items, or is done."""


class Phase(Enum):
    """Where a scope stands."""

    MAIN = 1
    FINALLY = 2
    DONE = 3


class Stop(Enum):
    """Why a scope starts nothing new."""

    FAILING = 1
    CANCELING = 2


@dataclass(slots=True, eq=False)
class ScopeState:
    """A graph under way: the run's own, or one that a continuation spawned.

    Attributes:
        owner: The step whose outputs it makes; None: the run's own graph.
        dependents: Names of the steps that need a step.
        remaining: Steps of the present phase that have not ended.
        live: Steps that were considered and have not ended, in the order of their start.
        hard: Whether its `finally` steps are stopped, too.
        failed: The first step that failed for good.
        error: What ends the scope as failed whatever its steps do (the run's time-out).
    """

    workflow: Workflow
    inputs: Arguments
    owner: StepState | None = None
    steps: dict[StepName, StepState] = field(default_factory=dict["StepName", "StepState"])
    dependents: dict[StepName, list[StepName]] = field(default_factory=dict["StepName", "list[StepName]"])
    remaining: int = 0
    live: dict[StepPath, StepState] = field(default_factory=dict["StepPath", "StepState"])
    phase: Phase = Phase.MAIN
    stop: Stop | None = None
    hard: bool = False
    failed: StepState | None = None
    error: ShoalError | None = None

    @property
    def passes_through(self) -> bool:
        """Whether its outputs are those of its only step, so that a continuation of that step may take its place."""
        flow = self.workflow
        return len(flow.steps) == 1 and not flow.finally_steps and flow.outputs is None and self.owner is not None


_ENDED_BYTE = {StepStatus.SUCCEEDED: 1, StepStatus.FAILED: 2, StepStatus.SKIPPED: 3, StepStatus.CANCELED: 4}


@dataclass(slots=True, eq=False)
class LoopState:
    """The items of a `foreach` step.

    Attributes:
        ended: A byte an item: 0 while it has not ended.
        next: The next index to look at.
        live: Items under way.
        limit: Items at a time.
        kept: Outputs by item where they are not recorded (`checkpoint: false`).
        rows: Rows of items that ended before a resume, and run again; their attempt numbers go on.
    """

    items: Sequence[Constant | Value]
    ended: bytearray
    limit: int
    next: int = 0
    live: int = 0
    done: int = 0
    stopped: bool = False
    gathering: bool = False
    failed: StepPath | None = None
    error: ShoalError | None = None
    kept: list[Result | None] | None = None
    rows: dict[int, StepRecord] = field(default_factory=dict["int", "StepRecord"])

    def mark(self, index: int, status: StepStatus) -> None:
        """Record that an item ended."""
        if not self.ended[index]:
            self.done += 1
        self.ended[index] = _ENDED_BYTE[status]

    @property
    def canceled(self) -> bool:
        """Whether an item was canceled."""
        return _ENDED_BYTE[StepStatus.CANCELED] in self.ended

    def counts(self) -> ItemCounts:
        """Return how the items stand."""
        counted = [self.ended.count(code) for code in (1, 2, 3, 4)]
        return ItemCounts(len(self.ended), *counted)


@dataclass(slots=True, eq=False)
class StepState:
    """A step, an item or a spawned step.

    Attributes:
        unmet: How many of its needs have not ended.
        attempt: Its attempt under way.
        waits_for: The signal it waits for.
        opened: The scope whose outputs become its own.
        index: Its place among the items; None: it is no item.
        loop_step: The `foreach` step whose item it is.
        doom: The error to fail with once its attempt under way has ended (deadline, run's time-out).
    """

    step: Step
    path: StepPath
    scope: ScopeState
    is_finally: bool = False
    entry: int = 1
    status: StepStatus = StepStatus.PENDING
    unmet: int = 0
    attempts: int = 0
    exceptions: int = 0
    lost: int = 0
    out_of_memory: int = 0
    result: Result | None = None
    error: ShoalError | None = None
    skip_reason: SkipReason | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt_started_at: datetime | None = None
    wake_at: datetime | None = None
    attempt: AttemptId | None = None
    child: RunId | None = None
    waits_for: str | None = None
    opened: ScopeState | None = None
    loop: LoopState | None = None
    index: int | None = None
    item: Constant | Value | None = None
    loop_step: StepState | None = None
    spawned: int = 0
    doom: ShoalError | None = None

    @property
    def is_loop(self) -> bool:
        """Whether it is a `foreach` step itself (and not an item of one)."""
        return self.step.foreach is not None and self.index is None

    def record(self) -> StepRecord:
        """Return its row."""
        return StepRecord(
            path=self.path,
            name=self.step.name,
            status=self.status,
            scope=self.scope.owner.path if self.scope.owner else StepPath(""),
            entry=self.entry,
            attempts=self.attempts,
            exceptions=self.exceptions,
            lost=self.lost,
            out_of_memory=self.out_of_memory,
            result=self.result if self.step.checkpoint else None,
            error=self.error,
            skip_reason=self.skip_reason,
            started_at=self.started_at,
            finished_at=self.finished_at,
            wake_at=self.wake_at,
            child_run_id=self.child,
            delegate=self.opened.owner.path if self.opened and self.opened.owner else None,
            spawned=self.spawned,
            items=self.loop.counts() if self.loop else None,
        )


@dataclass(slots=True, eq=False)
class RunState:
    """A run under way, and the outbox of the present decision.

    Attributes:
        steps: What is not yet done with, and every step of a live scope.
        ready: Steps whose next attempt may start as soon as `max_parallel` allows.
        busy: Steps under way that call a tool or drive a run.
        waiting: Steps that sleep or wait for a signal.
        loops: Loops whose counts changed in the present decision.
        options: Explicit Ray options of tools, as far as they are known.
    """

    id: RunId
    root_id: RunId
    spec: RunSpec
    values: Values
    slots: Callable[[Resources], int]
    random: Random
    new_attempt_id: Callable[[], AttemptId]
    new_run_id: Callable[[], RunId]
    now: datetime
    root: ScopeState
    status: RunStatus = RunStatus.PENDING
    started_at: datetime | None = None
    cancel_requested: bool = False
    paused: bool = False
    steps: dict[StepPath, StepState] = field(default_factory=dict["StepPath", "StepState"])
    attempts: dict[AttemptId, StepState] = field(default_factory=dict["AttemptId", "StepState"])
    children: dict[RunId, StepState] = field(default_factory=dict["RunId", "StepState"])
    waiters: dict[str, deque[StepState]] = field(default_factory=dict["str", "deque[StepState]"])
    signals: dict[str, deque[tuple[int, Json]]] = field(default_factory=dict["str", "deque[tuple[int, Json]]"])
    ready: deque[StepState] = field(default_factory=deque["StepState"])
    in_flight: int = 0
    busy: int = 0
    waiting: int = 0
    loops: dict[StepPath, StepState] = field(default_factory=dict["StepPath", "StepState"])
    suspects: Mapping[StepPath, int] = field(default_factory=dict["StepPath", "int"])
    options: dict[ToolReference, ToolOptions] = field(default_factory=dict["ToolReference", "ToolOptions"])
    changes: list[Change] = field(default_factory=list["Change"])
    effects: list[Effect] = field(default_factory=list["Effect"])
    todo: deque[tuple[Todo, StepState]] = field(default_factory=deque["tuple[Todo, StepState]"])

    def save(self, state: StepState) -> None:
        """Put a step's row among the changes."""
        self.changes.append(StepChanged(state.record(), self.now))

    def later(self, todo: Todo, state: StepState) -> None:
        """Queue a follow-up; the engine works them off before the decision is complete."""
        self.todo.append((todo, state))
