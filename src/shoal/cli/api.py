"""What the commands use of the public Python API.

Owns the late import of it: a command that only reads a file loads none of it.
"""

# ruff: noqa: D102 - what the methods promise stands in shoal.client
from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Literal, Protocol, cast

from shoal.config import Settings
from shoal.model.events import Event
from shoal.model.ids import RunId
from shoal.model.run import Progress, RunRecord, StepRecord
from shoal.model.values import Json
from shoal.model.workflow import Workflow
from shoal.ports import BlobStore, LogChunk, RunQuery, RunStore


class RunView(Protocol):
    """A run to show: its record, its top-level steps in the order of the definition, then those spawned."""

    @property
    def run(self) -> RunRecord: ...
    @property
    def workflow(self) -> Workflow: ...
    @property
    def steps(self) -> Sequence[StepRecord]: ...
    @property
    def builds(self) -> Mapping[str, Progress]: ...
    @property
    def outputs(self) -> dict[str, Json] | None: ...


class Finding(Protocol):
    """One thing that `doctor` looked at; `ok` is None where it is neither right nor wrong."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def hint(self) -> str | None: ...


class PruneReport(Protocol):
    """What `prune` deleted, or would delete."""

    @property
    def runs(self) -> tuple[RunId, ...]: ...
    @property
    def blobs(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def environments(self) -> int: ...


class RunHandle(Protocol):
    """A run that was started or taken up."""

    @property
    def id(self) -> RunId: ...
    async def wait(self) -> RunView: ...
    def watch(self) -> AsyncIterator[RunView]: ...


class Client(Protocol):
    """The public API."""

    @property
    def store(self) -> RunStore: ...
    @property
    def blobs(self) -> BlobStore: ...

    async def start(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        run_id: str | None = None,
        executor: Literal["ray", "inline"] | None = None,
        detach: bool = False,
    ) -> RunHandle: ...
    async def resume(self, run_id: str, *, accept_tool_change: bool = False) -> RunHandle: ...
    async def retry(self, run_id: str) -> RunHandle: ...
    async def cancel(self, run_id: str) -> None: ...
    async def signal(self, run_id: str, name: str, payload: Json = None) -> None: ...
    async def runs(self, query: RunQuery | None = None) -> Sequence[RunRecord]: ...
    async def show(self, run_id: str) -> RunView: ...
    async def workflow(self, run_id: str) -> Workflow: ...
    def logs(self, run_id: str, step: str | None = None, *, follow: bool = False) -> AsyncIterator[LogChunk]: ...
    def events(self, run_id: str, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]: ...
    async def delete(self, run_id: str) -> None: ...
    async def prune(self, *, older_than: timedelta | None, keep: int | None, dry_run: bool = False) -> PruneReport: ...
    def diagnose(self) -> AsyncIterator[Finding]: ...


Begin = Callable[[Client], Awaitable[RunHandle]]
"""Starts a run or takes one up."""


class Daemon(Protocol):
    """The module that keeps a local Ray and daemon."""

    def up(self, settings: Settings) -> object: ...
    def down(self, settings: Settings) -> bool: ...


def connect() -> AbstractAsyncContextManager[Client]:
    """Return the client of this process's settings; leaving the context parks the runs that it drives."""
    module = importlib.import_module("shoal.client")
    return cast("AbstractAsyncContextManager[Client]", module.connect())


def daemon() -> Daemon:
    """Return the daemon's module."""
    return cast("Daemon", cast("object", importlib.import_module("shoal.daemon")))
