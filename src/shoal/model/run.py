"""Runs, steps and attempts as the journal keeps them, and the changes that an orchestrator commits.

Owns the records and the closed union `Change`. Events are made from changes in `events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from shoal.errors import ShoalError
from shoal.model.ids import AttemptId, OwnerId, RunId, StepName, StepPath, WorkflowId
from shoal.model.locks import LockFileUse
from shoal.model.policies import RunPolicy
from shoal.model.tools import ToolLock
from shoal.model.values import Arguments, Json, Result
from shoal.model.workflow import Workflow


class RunStatus(StrEnum):
    """Status of a run. `resumable` is never stored: it is how a running or waiting run without a live lease is shown."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens without a request."""
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED)


class StepStatus(StrEnum):
    """Status of a step."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether the step is done with."""
        return self not in (StepStatus.PENDING, StepStatus.RUNNING, StepStatus.WAITING)


SkipReason = Literal["condition", "not_reached"]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is pinned to at its start; never changes.

    Attributes:
        workflow: The definition.
        inputs: The inputs with defaults filled in.
        context: A JSON object given with the run.
        policy: What it may do.
        executor: `ray` or `inline`.
        fingerprint: Of the base environment it was started under.
        lock_file: The lock file beside its workflow, if there was one.
    """

    workflow: Workflow
    inputs: Arguments = Arguments({})
    context: dict[str, Json] = field(default_factory=dict[str, Json])
    policy: RunPolicy = RunPolicy()
    executor: Literal["ray", "inline"] = "ray"
    fingerprint: str = ""
    lock_file: LockFileUse | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """The step of another run that a run carries out."""

    run_id: RunId
    path: StepPath


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created.

    Attributes:
        root_id: The run at the top of its tree of sub-workflows, under whose lease it is driven; its own id for a run of
            its own.
        parked: Taken up only by an explicit resume.
        locks: The tools it is pinned to beforehand: those of the run that it retries, or those of a lock file; what its
            workflow names beside them is resolved before its first dispatch.
        steps: Rows that it begins with: what a fork takes over of the run that it forks. They make no events.
    """

    id: RunId
    spec: RunSpec
    root_id: RunId
    parent: Parent | None = None
    parked: bool = False
    retry_of: RunId | None = None
    locks: tuple[ToolLock, ...] | None = None
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive a run and its sub-workflows; every write carries the epoch.

    Attributes:
        epoch: Rises by one with every new owner.
        expires_at: By the store's clock.
        automatic: Whether it was taken over from an owner that died (and not asked for explicitly).
    """

    run_id: RunId
    owner: OwnerId
    epoch: int
    expires_at: datetime
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it stands.

    Attributes:
        started_at: Its start; of a run that ended and was resumed, the start of its latest life. Its time-out counts from it.
        live: Whether a live owner holds the lease of its root.
        parked: Taken up only by an explicit resume.
        locks: The tools it is pinned to; None until they have been resolved.
        suspects: How many automatic takeovers in a row met each step running, with no result recorded in between.
    """

    id: RunId
    workflow_id: WorkflowId
    root_id: RunId
    status: RunStatus
    created_at: datetime
    parent: Parent | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    outputs: Result | None = None
    error: ShoalError | None = None
    live: bool = False
    parked: bool = False
    cancel_requested: bool = False
    locks: tuple[ToolLock, ...] | None = None
    suspects: Mapping[StepPath, int] = field(default_factory=dict[StepPath, int])
    executor: Literal["ray", "inline"] = "ray"
    fingerprint: str = ""
    retry_of: RunId | None = None

    @property
    def shown_status(self) -> str:
        """Return the status to show: `resumable` for a run under way that nobody drives."""
        if self.status in (RunStatus.RUNNING, RunStatus.WAITING) and not self.live:
            return "resumable"
        return self.status.value


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How the items of a `foreach` stand."""

    total: int
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    canceled: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a tool last reported; lost with the mailbox, never relied upon."""

    done: float
    total: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step, an item of one, or a spawned step, as it stands.

    Attributes:
        scope: Path of the step whose continuation spawned it; empty for a step of the definition. An item has its
            owner's scope.
        entry: 1, or higher for a `finally` step entered again by a resume.
        attempts: Highest attempt number given out.
        exceptions: Attempts spent on exceptions and time-outs since the last resume.
        lost: Attempts lost with their worker or node.
        out_of_memory: Attempts ended out of memory.
        result: Recorded outputs; None: none, or not recorded (`checkpoint: false`).
        wake_at: When a sleep ends, a wait times out or the next attempt may start.
        started_at: First start; the `deadline` counts from it.
        delegate: The spawned step or scope owner whose outputs become this step's.
        spawned: For a top-level step: how many steps were spawned below it.
    """

    path: StepPath
    name: StepName
    status: StepStatus
    scope: StepPath = StepPath("")
    entry: int = 1
    attempts: int = 0
    exceptions: int = 0
    lost: int = 0
    out_of_memory: int = 0
    result: Result | None = None
    error: ShoalError | None = None
    skip_reason: SkipReason | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wake_at: datetime | None = None
    child_run_id: RunId | None = None
    delegate: StepPath | None = None
    spawned: int = 0
    items: ItemCounts | None = None
    progress: Progress | None = None


AttemptOutcome = Literal[
    "succeeded", "continued", "exception", "timeout", "worker_lost", "oom", "canceled", "interrupted", "lost_owner"
]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a step.

    Attributes:
        number: From 1, without gaps within what was recorded.
        outcome: None while it runs. `lost_owner`: its owner died; what became of it is unknown.
    """

    path: StepPath
    number: int
    id: AttemptId
    started_at: datetime
    finished_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    error: ShoalError | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """The graph that a continuation spawned.

    Attributes:
        owner: The step whose outputs the graph's become.
        workflow: The graph; its own inputs and steps only.
        inputs: Literal, never evaluated.
        first: Number of its first step: step i of it (`finally` steps last) has the path `TOP/{first + i}`.
    """

    owner: StepPath
    workflow: Workflow
    inputs: Arguments
    first: int


# ---------------------------------------------------------------- changes


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The run's status; started, waiting, running again, or reopened by an explicit resume."""

    status: RunStatus
    at: datetime
    reopened: bool = False
    kind: ClassVar[str] = "run_changed"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run's end, with its outputs or its error."""

    status: RunStatus
    at: datetime
    outputs: Result | None = None
    error: ShoalError | None = None
    kind: ClassVar[str] = "run_ended"


@dataclass(frozen=True, slots=True)
class CancelRecorded:
    """The run is to be canceled; survives a crash in the middle of it."""

    at: datetime
    kind: ClassVar[str] = "cancel_recorded"


@dataclass(frozen=True, slots=True)
class ToolsLocked:
    """The run is pinned to these tools; replaces the list, which only grows."""

    locks: tuple[ToolLock, ...]
    at: datetime
    kind: ClassVar[str] = "tools_locked"


@dataclass(frozen=True, slots=True)
class SuspectsChanged:
    """Which steps were running at automatic takeovers."""

    suspects: Mapping[StepPath, int]
    kind: ClassVar[str] = "suspects_changed"


@dataclass(frozen=True, slots=True)
class StepChanged:
    """A step's row, new or replaced."""

    step: StepRecord
    at: datetime
    kind: ClassVar[str] = "step_changed"


@dataclass(frozen=True, slots=True)
class StepProgressed:
    """What a tool reported; makes no event."""

    path: StepPath
    progress: Progress
    kind: ClassVar[str] = "step_progressed"


@dataclass(frozen=True, slots=True)
class AttemptChanged:
    """An attempt's row, new or replaced."""

    attempt: AttemptRecord
    kind: ClassVar[str] = "attempt_changed"


@dataclass(frozen=True, slots=True)
class ScopeOpened:
    """A continuation's graph."""

    scope: ScopeRecord
    at: datetime
    kind: ClassVar[str] = "scope_opened"


@dataclass(frozen=True, slots=True)
class ChildCreated:
    """A sub-workflow's run, under the lease of the root."""

    run: NewRun
    at: datetime
    kind: ClassVar[str] = "child_created"


@dataclass(frozen=True, slots=True)
class InboxHandled:
    """A command was taken from the inbox; it is not delivered again."""

    seq: int
    kind: ClassVar[str] = "inbox_handled"


@dataclass(frozen=True, slots=True)
class Noted:
    """An event of its own, with no state behind it (an environment build, a warning)."""

    name: str
    at: datetime
    path: StepPath | None = None
    data: dict[str, Json] = field(default_factory=dict[str, Json])
    kind: ClassVar[str] = "noted"


Change = (
    RunChanged
    | RunEnded
    | CancelRecorded
    | ToolsLocked
    | SuspectsChanged
    | StepChanged
    | StepProgressed
    | AttemptChanged
    | ScopeOpened
    | ChildCreated
    | InboxHandled
    | Noted
)


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Changes of one run, in order, under one lease.

    Attributes:
        root_id: The run whose lease it is.
        epoch: The lease's epoch.
    """

    run_id: RunId
    root_id: RunId
    epoch: int
    changes: tuple[Change, ...]


# ---------------------------------------------------------------- inbox


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """Cancel the run."""

    kind: ClassVar[str] = "cancel"


@dataclass(frozen=True, slots=True)
class SignalCommand:
    """Deliver a signal; kept until a step waits for it."""

    name: str
    payload: Json = None
    kind: ClassVar[str] = "signal"


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """Take the run up again: for a daemon, from a client."""

    accept_tool_change: bool = False
    kind: ClassVar[str] = "resume"


@dataclass(frozen=True, slots=True)
class ParkCommand:
    """Stop driving the run and give it back, parked: for a daemon, from a command that followed the run."""

    kind: ClassVar[str] = "park"


Command = CancelCommand | SignalCommand | ResumeCommand | ParkCommand


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A command that waits to be handled; sequence numbers rise over the whole store."""

    seq: int
    run_id: RunId
    command: Command
    at: datetime


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """Everything an orchestrator needs to go on with a run.

    Attributes:
        steps: Every recorded row, in the order of first recording, but for items of a `foreach` that succeeded or were
            skipped by their condition: of those, only status and index are in `ended_items`.
        ended_items: Per `foreach` step: index to status of every item that has ended.
        scopes: The latest graph of each owner.
        attempts: Attempts that have no outcome.
        inbox: Commands not yet handled.
    """

    run: RunRecord
    spec: RunSpec
    steps: tuple[StepRecord, ...]
    ended_items: Mapping[StepPath, Mapping[int, StepStatus]]
    attempts: tuple[AttemptRecord, ...]
    scopes: tuple[ScopeRecord, ...]
    inbox: tuple[InboxEntry, ...]
