"""The composition root: settings to adapters to orchestrator.

Owns which adapter stands behind which port; nothing else names adapters. Everything is made on first use, so a command that
only looks at the journal loads neither Ray nor the tools' machinery.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from shoal import faults
from shoal.clock import SystemClock
from shoal.config import Settings
from shoal.errors import ConflictError, NotFoundError, StoreUnavailableError
from shoal.model.ids import RunId, new_owner_id
from shoal.ports import BlobStore, EnvironmentProvider, LogStore, NodeRunner, RunStore, SecretProvider, StepExecutor
from shoal.runtime.orchestrator import Adapters, Orchestrator

if TYPE_CHECKING:
    from shoal.environments.locked import LockedEnvironments
    from shoal.environments.provider import UvEnvironments
    from shoal.errors import ShoalError
    from shoal.executors.ray.cluster import RayConnection
    from shoal.model.locks import LockEntry, LockFile
    from shoal.model.tools import ToolLock, ToolRequest
    from shoal.tools.resolver import KnownLocks, Resolver

ExecutorKind = Literal["ray", "inline"]

BLOB_AGE = timedelta(hours=24)
"""Age under which no blob is swept, referenced or not."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` deleted, or would delete."""

    runs: tuple[RunId, ...]
    blobs: int
    bytes: int


class Platform:
    """The adapters of one process, by settings. Not thread-safe; closed once by whoever opened it."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; the journal is opened at once, the rest on first use.

        Raises:
            StoreUnavailableError: The journal cannot be opened.
        """
        self.settings = settings
        _configure_log(settings.log_level)
        faults.arm_from(settings.fault)
        self.clock = SystemClock()
        self.store: RunStore = _open_store(settings)
        self._ray: RayConnection | None = None
        self._closing = contextlib.ExitStack()

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """Return the blobs."""
        from shoal.stores.opening import open_blobs

        return open_blobs(self.settings.blobs)

    @functools.cached_property
    def logs(self) -> LogStore:
        """Return the logs of attempts."""
        from shoal.stores.logs import FileLogStore

        return FileLogStore(str(self.settings.home / "logs"))

    @functools.cached_property
    def secrets(self) -> SecretProvider:
        """Return the secrets."""
        from shoal.config import environment
        from shoal.secrets import LocalSecrets

        return LocalSecrets(environment(), self.settings.secrets_file)

    def check_secrets(self) -> None:
        """Refuse a file of secrets that cannot be used, before anything is recorded or started that might want one.

        Raises:
            InvalidInputError: It is not there, others can read it, or it is not what it should be.
        """
        self.secrets.names()

    @functools.cached_property
    def _base_fingerprint(self) -> str:
        from shoal.environments.base import fingerprint

        return fingerprint()

    def fingerprint(self, kind: ExecutorKind) -> str:
        """Return the fingerprint under which runs of an executor are started and taken over."""
        return f"{kind}-{self._base_fingerprint}"

    def environments(self, runner: NodeRunner, *, fresh: bool = False) -> UvEnvironments:
        """Return the environments, built through a node runner."""
        from shoal.config import environment
        from shoal.environments.provider import UvEnvironments

        root = self.settings.home / "environments"
        made = UvEnvironments(root, self.blobs, runner, variables=environment(), fresh=fresh)
        self._closing.callback(made.close)
        return made

    def index(self, *, fresh: bool = False) -> UvEnvironments:
        """Return what resolves requirements here; builds go to this host, too. With `fresh` nothing that is kept counts."""
        from shoal.executors.inline.node import InlineNodeRunner

        return self.environments(InlineNodeRunner(), fresh=fresh)

    def resolver(self, environments: EnvironmentProvider | None, *, known: KnownLocks | None = None) -> Resolver:
        """Return what pins tools.

        Args:
            environments: Makes locks; None: what is not known is refused, and no index is asked.
            known: Environments that are known beforehand.
        """
        from shoal.environments.locked import NoIndex
        from shoal.tools.resolver import Resolver

        return Resolver(environments or NoIndex(), self.blobs, known=known)

    def locked_environments(self, file: LockFile, folder: str) -> LockedEnvironments:
        """Return the environments that a lock file in a folder holds, where they still suit."""
        from shoal.config import environment
        from shoal.environments.index_settings import index_settings
        from shoal.environments.locked import LockedEnvironments
        from shoal.environments.uv import Uv

        return LockedEnvironments(
            file, folder, self.blobs, Uv(self.settings.home / "environments", index_settings(environment()))
        )

    def is_not_locked(self, error: ShoalError) -> bool:
        """Return whether an error says only that a lock file does not serve a tool."""
        from shoal.environments.locked import NotLockedError

        return isinstance(error, NotLockedError)

    def lock_entry(self, request: ToolRequest, lock: ToolLock, folder: str, workflow: str) -> LockEntry | None:
        """Return the entry of a lock file in a folder for a pinned tool; None if there is nothing to lock."""
        from shoal.environments.locked import base_entry, entry_of

        if lock.environment is not None:
            return entry_of(request, lock.environment, folder, workflow)
        return base_entry(request, lock.distribution, folder, workflow) if lock.distribution is not None else None

    def connect_ray(self) -> RayConnection:
        """Make this process a driver of the cluster of the settings, or of a local Ray; once.

        Raises:
            RayUnavailableError: Ray cannot be started or reached.
            StoreUnavailableError: The cluster has several hosts, and the blobs are not shared.
        """
        from shoal.executors.ray import cluster

        if self._ray is None:
            self._ray = cluster.connect(self.settings.ray_address, num_cpus=self.settings.ray_cpus)
            others = len(cluster.hosts())
            if others > 1 and "://" not in self.settings.blobs:
                raise StoreUnavailableError(
                    f"the cluster has {others} hosts, and the blobs lie in a folder of this one: {self.settings.blobs}",
                    hint="set SHOAL_BLOBS to a URL that every host reaches, such as s3://bucket/shoal",
                )
        return self._ray

    def _executor(self, kind: ExecutorKind) -> tuple[StepExecutor, NodeRunner]:
        from shoal.tools.invoker import LocalToolInvoker

        invoker = LocalToolInvoker(self.blobs)
        if kind == "inline":
            from shoal.executors.inline.executor import InlineExecutor
            from shoal.executors.inline.node import InlineNodeRunner

            return InlineExecutor(invoker=invoker, blobs=self.blobs), InlineNodeRunner()
        from shoal.executors.ray.executor import RayExecutor
        from shoal.executors.ray.node import RayNodeRunner

        self.connect_ray()
        return RayExecutor(invoker=invoker, blobs=self.blobs), RayNodeRunner()

    def orchestrator(self, kind: ExecutorKind, *, takes_over: bool = False) -> Orchestrator:
        """Return a new orchestrator; the caller starts and closes it.

        Raises:
            InvalidInputError: The file of secrets cannot be used.
            RayUnavailableError: Ray cannot be started or reached.
        """
        from shoal.tools.builtins import HOST_TOOLS

        self.check_secrets()
        executor, runner = self._executor(kind)
        environments = self.environments(runner)
        adapters = Adapters(
            store=self.store,
            blobs=self.blobs,
            logs=self.logs,
            executor=executor,
            resolver=self.resolver(environments),
            environments=environments,
            secrets=self.secrets,
            clock=self.clock,
            host_tools=HOST_TOOLS,
        )
        return Orchestrator(adapters, new_owner_id(), fingerprint=self.fingerprint(kind), takes_over=takes_over)

    async def prune(
        self, *, older_than: timedelta | None = None, keep: int | None = None, dry_run: bool = False
    ) -> PruneReport:
        """Delete ended runs by age and number, then blobs that nothing names.

        Args:
            older_than: Runs that ended longer ago; None: of any age.
            keep: The newest so many of each workflow stay; None: none.
            dry_run: Only say what would be deleted.
        """
        now = self.store.now()
        runs = await self.store.prunable(older_than=now - older_than if older_than is not None else None, keep=keep)
        for run_id in () if dry_run else runs:
            with contextlib.suppress(NotFoundError, ConflictError):
                await self.delete(run_id)
        oldest = await self.store.oldest_lease()
        limit = now - BLOB_AGE
        limit = min(limit, oldest) if oldest is not None else limit
        count, size = self.blobs.sweep(await self.store.referenced_blobs(), limit, dry_run=dry_run)
        return PruneReport(tuple(runs), count, size)

    async def delete(self, run_id: RunId) -> None:
        """Delete a run, its sub-workflows and its logs; blobs go with the next `prune`.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has a live owner.
        """
        family = await self._family(run_id)
        await self.store.delete(run_id)
        for member in family:
            self.logs.delete(member)

    async def _family(self, run_id: RunId) -> list[RunId]:
        """Return a run and the runs of its sub-workflows."""
        found = [run_id]
        for member in found:
            found.extend(step.child_run_id for step in await self.store.steps(member) if step.child_run_id is not None)
        return found

    def has_daemon(self) -> bool:
        """Return whether a live daemon of this home drives runs of this base environment."""
        from shoal.daemon_file import read_daemon

        daemon = read_daemon(self.settings.home)
        if daemon is None or daemon.store != self.settings.store:
            return False
        return daemon.fingerprint == self.fingerprint("ray")

    def close(self) -> None:
        """Leave Ray and close the journal. Idempotent."""
        if self._ray is not None:
            self._ray.close()
            self._ray = None
        self._closing.close()
        self.store.close()


def _configure_log(level: str) -> None:
    """Send Shoal's own log to stderr, without the values of variables in tracebacks; a program's own set-up stays."""
    import structlog

    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S"),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _open_store(settings: Settings) -> RunStore:
    from shoal.stores.opening import open_store

    return open_store(settings.store)


def open_platform(settings: Settings) -> Platform:
    """Return the platform of settings.

    Raises:
        StoreUnavailableError: The journal cannot be opened.
    """
    return Platform(settings)
