"""The contracts between the engine's driver and the world: journal, blobs, logs, executors, environments, tools, secrets, time.

Owns the protocols and nothing else. An adapter documents only where it differs. Each protocol has a suite in
`shoal.testing` that every adapter passes. Ports that say *travels* are pickled to workers: their implementations pickle as
their settings, import no SQL and open what they need on first use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from shoal.model.attempts import AttemptCall, Completion, Notice, Outcome
from shoal.model.events import Event
from shoal.model.ids import AttemptId, Digest, OwnerId, RunId, StepPath, WorkflowId
from shoal.model.policies import Resources
from shoal.model.run import (
    AttemptRecord,
    Command,
    InboxEntry,
    Lease,
    NewRun,
    Progress,
    RunBatch,
    RunRecord,
    RunSnapshot,
    RunSpec,
    RunStatus,
    StepRecord,
    StepStatus,
)
from shoal.model.tools import BuiltEnvironment, EnvironmentLock, ToolLock, ToolOptions, ToolRequest
from shoal.model.values import Result

T = TypeVar("T")

LEASE_TTL = timedelta(seconds=10)
LEASE_RENEWAL = timedelta(seconds=3)


class Clock(Protocol):
    """Time. Wall time serves persisted timers only; all waiting in a process is monotonic.

    Attributes:
        longest_sleep: Seconds after which a sleeper looks at the wall clock again, since it may have jumped.
    """

    longest_sleep: float

    def now(self) -> datetime:
        """Return wall time, in UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that much monotonic time."""
        ...


# ---------------------------------------------------------------- journal


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, the newest first.

    Attributes:
        statuses: Empty: all.
        children: Whether runs of sub-workflows are listed too.
        before: Only runs created before this one (for paging).
    """

    statuses: tuple[RunStatus, ...] = ()
    workflow_id: WorkflowId | None = None
    children: bool = False
    before: RunId | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ClaimQuery:
    """Which leases to take.

    Attributes:
        run_ids: Exactly these runs, which the caller asked for explicitly: parked ones too, whoever drove them, whatever
            their status, unless a live owner holds them. None: every run that is pending, running or waiting, not
            parked, whose owner is dead or has released it, and whose fingerprint is the caller's.
        fingerprint: Of the caller's base environment.
        limit: At most this many.
    """

    run_ids: tuple[RunId, ...] | None = None
    fingerprint: str = ""
    limit: int = 100


class RunStore(Protocol):
    """The journal: runs, steps, attempts, events, leases and inbox.

    Every method but `now`, `renew` and `close` belongs to the event loop of its caller; it may block that loop for the time
    of one transaction. What a method has returned from is durable. Several processes use one store at once. Methods raise
    `StoreUnavailableError` when the store cannot be used; then nothing of that call is recorded.
    """

    def now(self) -> datetime:
        """Return the store's time, in UTC; leases and records are dated by it."""
        ...

    async def create(self, run: NewRun, *, owner: OwnerId | None = None) -> tuple[RunRecord, Lease | None]:
        """Record a new run with status pending, and its event; with an owner, also give it the lease, in one transaction.

        Raises:
            RunAlreadyExistsError: The id is taken; nothing changed.
        """
        ...

    async def commit(self, batches: Sequence[RunBatch]) -> frozenset[RunId]:
        """Record changes of several runs in one transaction, with an event for each change that makes one.

        A batch whose epoch is not that of the present lease of its root, or whose run is gone, is left out whole; the
        others are recorded. A lease that expired but that nobody took since still counts. `RunEnded` of a root run gives
        its lease back in the same transaction.

        Returns:
            The runs whose batches were left out.
        """
        ...

    async def run(self, run_id: RunId) -> RunRecord:
        """Return a run. Raises `NotFoundError`."""
        ...

    async def spec(self, run_id: RunId) -> RunSpec:
        """Return what a run is pinned to. Raises `NotFoundError`."""
        ...

    async def runs(self, query: RunQuery) -> Sequence[RunRecord]:
        """Return runs, the newest first."""
        ...

    async def snapshot(self, run_id: RunId) -> RunSnapshot:
        """Return all that an orchestrator needs to go on with a run. Raises `NotFoundError`."""
        ...

    async def steps(self, run_id: RunId, *, items: bool = True) -> Sequence[StepRecord]:
        """Return the recorded steps of a run in the order of first recording; without `items` no items of a `foreach`."""
        ...

    async def step(self, run_id: RunId, path: StepPath) -> StepRecord:
        """Return a step. Raises `NotFoundError`."""
        ...

    async def attempts(self, run_id: RunId, path: StepPath | None = None) -> Sequence[AttemptRecord]:
        """Return the attempts of a run, or of one step of it, in the order of their start."""
        ...

    def item_results(self, run_id: RunId, path: StepPath) -> AsyncIterator[tuple[int, StepStatus, Result | None]]:
        """Yield index, status and outputs of every recorded item of a `foreach` step, by index; memory stays flat."""
        ...

    async def events(self, run_id: RunId, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Return events with a higher sequence number, in order."""
        ...

    async def claim(self, owner: OwnerId, query: ClaimQuery) -> Sequence[Lease]:
        """Take the leases of root runs that nobody live holds; an atomic test and set for each.

        A lease is dead when it expired or, on one host, when its owner's process is. Nobody takes a lease from itself. Its
        epoch rises by one. Taking a lease unparks the run.
        """
        ...

    def renew(self, owner: OwnerId) -> None:
        """Extend all leases of an owner to `LEASE_TTL` from now. May be called from any thread."""
        ...

    async def release(self, owner: OwnerId, run_ids: Sequence[RunId], *, park: bool) -> None:
        """Give leases back; parked runs are taken up only explicitly. Unknown or lost leases are ignored."""
        ...

    async def post(self, run_id: RunId, command: Command) -> InboxEntry:
        """Put a command into a run's inbox; durable on return. Raises `NotFoundError`."""
        ...

    async def inbox(self, run_ids: Sequence[RunId], *, after: int = 0) -> Sequence[InboxEntry]:
        """Return the commands not yet handled of the given runs with a higher sequence number, in order."""
        ...

    async def requests(self) -> Sequence[InboxEntry]:
        """Return the `resume` commands of runs without a live owner: what a daemon is asked to take up."""
        ...

    async def wait(self, since: int | None, timeout: float) -> int:
        """Wait until anything in the store may have changed, by any process, or the time-out (seconds) has passed.

        Args:
            since: What the last call returned; None: return at once.
            timeout: Seconds.

        Returns:
            A mark for the next call. Cheap: never more than four looks a second, whatever the number of runs.
        """
        ...

    async def delete(self, run_id: RunId) -> None:
        """Delete a run with its sub-workflows, steps, attempts, events and inbox.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has a live owner, or is the run of a sub-workflow, which goes with its root.
        """
        ...

    async def prunable(self, *, older_than: datetime | None, keep: int | None) -> Sequence[RunId]:
        """Return ended root runs that finished before `older_than`, the newest `keep` of every workflow left out."""
        ...

    async def referenced_blobs(self) -> frozenset[Digest]:
        """Return every digest that any row names."""
        ...

    async def oldest_lease(self) -> datetime | None:
        """Return when the oldest live lease was taken; None if there is none."""
        ...

    def close(self) -> None:
        """Release what is held; leases of owners registered here become dead. Idempotent."""
        ...


class BlobStore(Protocol):
    """Content-addressed bytes. It *travels*."""

    def put(self, data: bytes) -> Digest:
        """Write bytes durably (temporary file, fsync, rename, fsync of the folder) and return their SHA-256. Idempotent."""
        ...

    def get(self, digest: Digest) -> bytes:
        """Return bytes, checked against their digest.

        Raises:
            NotFoundError: There is no such blob.
            StoreUnavailableError: It cannot be read, or is damaged.
        """
        ...

    def path(self, digest: Digest) -> str | None:
        """Return a local file that holds the blob, if there is one."""
        ...

    def sweep(self, referenced: frozenset[Digest], older_than: datetime, *, dry_run: bool = False) -> tuple[int, int]:
        """Delete blobs that are not referenced and were last written or touched before a time; return count and bytes."""
        ...


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of an attempt's log.

    Attributes:
        offset: Of its first byte in the attempt's log.
    """

    path: StepPath
    number: int
    offset: int
    data: bytes


class LogStore(Protocol):
    """What attempts print. At most 10 MiB an attempt; the rest is dropped and a last line says how much."""

    def append(self, run_id: RunId, path: StepPath, number: int, data: bytes, *, dropped: int = 0) -> None:
        """Append to the log of an attempt. Not fsynced: a crash may lose the end of a log, never a result."""
        ...

    def read(
        self, run_id: RunId, path: StepPath | None = None, *, after: Mapping[str, int] | None = None
    ) -> Sequence[LogChunk]:
        """Return the logs of a run or a step: of each attempt what lies behind `after["PATH@NUMBER"]`."""
        ...

    def delete(self, run_id: RunId) -> None:
        """Delete all logs of a run. Idempotent."""
        ...


# ---------------------------------------------------------------- execution


class StepExecutor(Protocol):
    """Carries attempts to workers and back.

    Each attempt submitted is completed exactly once, whatever becomes of its worker, unless the executor is closed first.
    """

    async def start(self) -> None:
        """Make ready. Raises `RayUnavailableError`."""
        ...

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Begin attempts; returns at once, in order. What goes wrong with one is its completion."""
        ...

    async def completions(self) -> Sequence[Completion]:
        """Wait for at least one completion and return all there are. One caller at a time."""
        ...

    async def notices(self) -> Sequence[Notice]:
        """Wait for at least one notice and return all there are. One caller at a time."""
        ...

    def cancel(self, attempts: Sequence[AttemptId], *, grace: timedelta) -> None:
        """Set the cancel flags; what has not yielded after `grace` ends with its process. Unknown ids are ignored."""
        ...

    def slots(self, resources: Resources) -> int:
        """Return how many attempts of these resources fit at once; at least 1."""
        ...

    def prepare(self, environments: Sequence[BuiltEnvironment]) -> None:
        """Have a worker ready in each environment, as far as that is at nobody's expense; returns at once."""
        ...

    async def options(self, tool: ToolLock, environment: BuiltEnvironment | None) -> ToolOptions:
        """Return the explicit Ray options of a tool, read in its environment; none where they cannot be read there.

        A tool that cannot be loaded has none: its attempt will say why.
        """
        ...

    async def describe(self) -> Mapping[str, str]:
        """Return what it stands on, for `doctor` and logs."""
        ...

    async def close(self, *, grace: timedelta) -> None:
        """End what still runs, after `grace`, and release everything. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptControl:
    """What an attempt under way can reach of its executor.

    Attributes:
        report: Tell progress.
        canceled: Whether its cancel flag is set.
    """

    report: Callable[[Progress], None]
    canceled: Callable[[], bool]


class ToolInvoker(Protocol):
    """Carries out an attempt in the process and thread it is called in; it *travels*."""

    def invoke(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Load the tool, decode and check its inputs, call it, encode what it returns.

        Never raises but `SystemExit` and `KeyboardInterrupt` of the tool's own: everything else is a `Failed`. Blobs it
        names are durable. The caller has set the environment variables of the call; what the tool changes of them, of cwd
        and of signal handlers is the caller's to undo.
        """
        ...

    async def wait(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Carry out an attempt at an async function in the running event loop, beside others.

        Cancelling the caller cancels the function. Raises nothing else, as `invoke`.
        """
        ...

    def describe(self, tool: ToolLock) -> ToolOptions:
        """Return the explicit Ray options of a tool; empty for a plain function.

        Raises:
            ToolResolutionError: It cannot be loaded.
        """
        ...


class NodeRunner(Protocol):
    """Runs a function on a node, in the base environment, outside of every attempt."""

    async def run_on_node(self, function: Callable[..., T], /, *args: object, node: str | None = None) -> T:
        """Run a function that pickles, once, and return what it returns.

        Args:
            function: What is run.
            *args: Its arguments.
            node: Id of the node, as the executor names nodes; None: the one that the caller is on.

        Raises:
            WorkerLostError: There is no such node (any more), or it died meanwhile.
            Exception: Whatever the function raises.
        """
        ...

    def here(self) -> str | None:
        """Return the id of the node that the caller is on; None where nodes have no ids."""
        ...


class EnvironmentProvider(Protocol):
    """Makes and builds environments."""

    async def lock(self, requirements: Sequence[str], *, process: bool, base_dir: str | None) -> EnvironmentLock:
        """Resolve requirements (PEP 508) to an exact set of packages.

        Raises:
            ToolResolutionError: They cannot be met; in the resolver's own words, shortened.
            IndexUnavailableError: No index could be reached.
        """
        ...

    async def build(
        self, lock: EnvironmentLock, *, node: str | None = None, tell: Callable[[Progress], None] | None = None
    ) -> BuiltEnvironment:
        """Return the environment, built if it is not there; one build at a time of each on a host, never half-built.

        It is not removed there as long as this process lives, if it is on the caller's host. Nodes of one host share it.
        Cancelling the caller does not stop a build. A build that `prepare` began is waited for, and its error raised.

        Args:
            lock: What is built.
            node: Id of the node where it is to stand; None: the one that the caller is on.
            tell: Told when a build begins and ends.

        Raises:
            EnvironmentBuildError: It cannot be built.
            IndexUnavailableError: No index could be reached; names what is needed from it.
            WorkerLostError: There is no such node (any more), or it died meanwhile.
        """
        ...

    async def prepare(self, locks: Sequence[EnvironmentLock], *, node: str | None = None) -> None:
        """Build environments ahead of their use, and return once each stands or has failed; for a task of its own.

        At most two are built at once, in the order given; a `build` never waits for one that has not begun. Idempotent.
        Raises nothing: what goes wrong is kept for the next `build` of that lock, but for an `InfrastructureError`, which
        may have passed by then. Cancelled: begins no further build.
        """
        ...

    def fingerprint(self) -> str:
        """Return the fingerprint of the base environment (interpreter, platform, the packages of its workers)."""
        ...


class ToolResolver(Protocol):
    """Pins what a step names to an exact tool."""

    async def resolve(self, requests: Sequence[ToolRequest]) -> Mapping[ToolRequest, ToolLock]:
        """Pin several requests; all are tried before any error is raised.

        Raises:
            ToolResolutionError: Some cannot be had; the message has a line for each, and for each that could not be reached.
            IndexUnavailableError: No index could be reached for some, and all others can be had; a line for each.
        """
        ...

    async def check(self, lock: ToolLock, *, accept_change: bool) -> ToolLock:
        """Return the lock to use on a resume.

        That is the lock itself, or, where the base environment changed since, one that builds the pinned version.

        Raises:
            ToolChangedError: The pinned version is not to be had and `accept_change` is false.
        """
        ...


class SecretProvider(Protocol):
    """Secrets by name."""

    def get(self, name: str) -> str | None:
        """Return a secret; None if there is none. Never logged."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names there are."""
        ...


class PeerTransport(Protocol):
    """Carries handoffs to other agents. Not in this version."""
