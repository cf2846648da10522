"""Run a workflow with fake tools: the real language, engine, orchestrator and invoker, a journal in memory, no Ray, no waiting.

Sleeps, time-outs and retries pass at once: while no tool runs, the fake clock goes on to the next moment at which something
is due. Give `skip_time=False` to advance it yourself.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, ToolResolutionError
from shoal.executors.inline.executor import InlineExecutor
from shoal.language.inputs import check_inputs
from shoal.language.loading import load_file, load_text
from shoal.model.attempts import AttemptCall
from shoal.model.encoding import decode
from shoal.model.ids import RunId, StepPath, new_owner_id, new_run_id
from shoal.model.run import CancelCommand, NewRun, RunRecord, RunSpec, RunStatus, SignalCommand, StepRecord, StepStatus
from shoal.model.tools import ToolLock, ToolRequest
from shoal.model.values import Arguments, Json
from shoal.model.workflow import Workflow
from shoal.ports import AttemptControl, EnvironmentProvider, ToolInvoker
from shoal.runtime.orchestrator import Adapters, Orchestrator
from shoal.stores.memory import MemoryRunStore
from shoal.stores.memory_files import MemoryBlobStore, MemoryLogStore
from shoal.testing.clock import FakeClock
from shoal.tools.builtins import HOST_TOOLS
from shoal.tools.invoker import LocalToolInvoker
from shoal.tools.loader import LoadedTool, ToolLoader, loaded

if TYPE_CHECKING:
    from shoal.model.attempts import Outcome
    from shoal.model.tools import ToolOptions

Tools = Mapping[str, Callable[..., Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class FinishedRun:
    """What became of a run.

    Attributes:
        outputs: As Python objects; empty unless it succeeded.
        error: Why it failed.
        steps: Every recorded row by path, items and spawned steps included.
        calls: Each call of a fake tool, in order: its name and its keyword inputs.
    """

    id: RunId
    status: RunStatus
    outputs: dict[str, Any]
    error: ShoalError | None
    steps: Mapping[str, StepRecord]
    calls: Sequence[tuple[str, Mapping[str, Any]]]

    def step(self, path: str) -> StepRecord:
        """Return a step by its path; a step that was never considered is pending."""
        return self.steps.get(path) or StepRecord(StepPath(path), path, StepStatus.PENDING)  # pyright: ignore[reportArgumentType]


class Workbench:
    """A place to run workflows with fake tools, for tests: `async with Workbench(tools={"name": f}) as bench`."""

    def __init__(self, tools: Tools, *, secrets: Mapping[str, str] | None = None, skip_time: bool = True) -> None:
        """Lay out the tools.

        Args:
            tools: Callables by the reference as the workflow writes it, or by its name without a version.
            secrets: By name.
            skip_time: Whether the clock goes on by itself while no tool runs.
        """
        self.clock = FakeClock()
        self.store = MemoryRunStore(now=self.clock.now)
        self.blobs = MemoryBlobStore()
        self.logs = MemoryLogStore()
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self._skip_time = skip_time
        self._tools = dict(tools)
        self._secrets = dict(secrets or {})
        self._counter = _Counter(LocalToolInvoker(self.blobs, loader=_FakeLoader(self.blobs, self._tools, self.calls)))
        self.orchestrator = self._make()

    def _make(self, *, takes_over: bool = False) -> Orchestrator:
        adapters = Adapters(
            store=self.store,
            blobs=self.blobs,
            logs=self.logs,
            executor=InlineExecutor(invoker=self._counter, blobs=self.blobs),
            resolver=_FakeResolver(self._tools),
            environments=_no_environments(),
            secrets=_Secrets(self._secrets),
            clock=self.clock,
            host_tools=HOST_TOOLS,
        )
        return Orchestrator(adapters, new_owner_id(), takes_over=takes_over)

    async def __aenter__(self) -> Workbench:
        """Start the orchestrator."""
        await self.orchestrator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Park what still runs."""
        await self.orchestrator.close(park=True)

    async def restart(self, *, takes_over: bool = False, park: bool = True) -> None:
        """Stop the orchestrator in order and start another on the same journal, as after the end of a process.

        Args:
            takes_over: Whether the new one takes up by itself what it finds, as a daemon does.
            park: Whether what runs waits for an explicit resume.
        """
        await self.orchestrator.close(park=park)
        self.orchestrator = self._make(takes_over=takes_over)
        await self.orchestrator.start()

    async def start(
        self,
        workflow: str | Path | Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        context: Mapping[str, Json] | None = None,
        run_id: str | None = None,
    ) -> RunId:
        """Start a run of a workflow, a file of one, or its text, and return at once.

        Raises:
            DefinitionError: The workflow or an input is wrong.
        """
        match workflow:
            case Workflow():
                flow = workflow
            case Path():
                flow = load_file(workflow)
            case str():
                flow = load_text(workflow)
        given = check_inputs(flow, inputs or {})
        identity = RunId(run_id) if run_id else new_run_id()
        spec = RunSpec(flow, Arguments(given), dict(context or {}), executor="inline")  # pyright: ignore[reportArgumentType]
        await self.orchestrator.start_run(NewRun(identity, spec, identity))
        return identity

    async def run(
        self,
        workflow: str | Path | Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        context: Mapping[str, Json] | None = None,
    ) -> FinishedRun:
        """Run a workflow to its end.

        Raises:
            DefinitionError: The workflow or an input is wrong.
        """
        return await self.finish(await self.start(workflow, inputs, context=context))

    async def resume(self, run_id: RunId) -> FinishedRun:
        """Resume a run that failed, was canceled or was given back, and run it to its end."""
        await self.orchestrator.resume(run_id)
        return await self.finish(run_id)

    async def finish(self, run_id: RunId) -> FinishedRun:
        """Let a run go on to its end, and return what became of it."""
        await self.until(lambda run: run.status.ended and not self.orchestrator.is_driving(run_id), run_id)
        return await self.look(run_id)

    async def look(self, run_id: RunId) -> FinishedRun:
        """Return a run as it stands."""
        run = await self.store.run(run_id)
        outputs = {key: decode(value, self.blobs.get, trusted=True) for key, value in (run.outputs or {}).items()}
        steps = {str(step.path): step for step in await self.store.steps(run_id)}
        return FinishedRun(run_id, run.status, outputs, run.error, steps, list(self.calls))

    async def until(self, condition: Callable[[RunRecord], bool], run_id: RunId) -> None:
        """Let things go on until a condition on the run's row holds.

        Raises:
            ShoalError: The orchestrator gave up.
        """
        quiet = 0
        while not condition(await self.store.run(run_id)):
            if self.orchestrator.failure is not None:
                raise self.orchestrator.failure
            quiet = 0 if self._counter.running else quiet + 1
            if self._skip_time and quiet > _SETTLED and (wait := self.clock.next_in()) is not None:
                self.clock.advance(wait)
                quiet = 0
            await asyncio.sleep(0.0005 if self._counter.running else 0)

    async def signal(self, run_id: RunId, name: str, payload: Json = None) -> None:
        """Send a signal to a run."""
        await self.store.post(run_id, SignalCommand(name, payload))

    async def cancel(self, run_id: RunId) -> None:
        """Ask for a run to be canceled."""
        await self.store.post(run_id, CancelCommand())


_SETTLED = 40
"""Turns of the loop without a running tool after which nothing but time can bring a run on."""


class _Counter:
    """Counts the attempts that are being carried out, so that time stands still meanwhile."""

    def __init__(self, inner: ToolInvoker) -> None:
        self._inner = inner
        self.running = 0

    def invoke(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        self.running += 1
        try:
            return self._inner.invoke(call, control)
        finally:
            self.running -= 1

    async def wait(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        return await self._inner.wait(call, control)

    def describe(self, tool: ToolLock) -> ToolOptions:
        return self._inner.describe(tool)


class _FakeLoader(ToolLoader):
    """Loads the fakes by the name of their lock; built-ins are the real ones."""

    def __init__(self, blobs: MemoryBlobStore, tools: Tools, calls: list[tuple[str, Mapping[str, Any]]]) -> None:
        super().__init__(blobs)
        self._tools = tools
        self._calls = calls

    def load(self, lock: ToolLock) -> LoadedTool:
        if lock.load == "builtin":
            return super().load(lock)
        tool = loaded(lock.target, self._tools[lock.target])
        function = tool.function

        def noted(*positional: Any, **inputs: Any) -> Any:
            self._calls.append((lock.target, inputs))
            return function(*positional, **inputs)

        return dataclasses.replace(tool, function=noted)


class _FakeResolver:
    """Finds fakes by the text of a reference or by its name."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def resolve(self, requests: Sequence[ToolRequest]) -> Mapping[ToolRequest, ToolLock]:
        return {request: self._lock(request) for request in requests}

    def _lock(self, request: ToolRequest) -> ToolLock:
        reference = request.reference
        names = (reference.text, reference.name, reference.name.replace("-", "_"))
        for name in names:
            if name in self._tools:
                return ToolLock(request, "function", name)
        if reference.kind == "builtin":
            return ToolLock(request, "builtin", reference.name)
        there = ", ".join(sorted(self._tools)) or "none"
        raise ToolResolutionError(f"the workbench has no tool {reference.text!r}; it has: {there}")

    async def check(self, lock: ToolLock, *, accept_change: bool) -> ToolLock:  # noqa: ARG002 - the port has it
        return lock


class _Secrets:
    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    def get(self, name: str) -> str | None:
        return self._secrets.get(name)

    def names(self) -> Sequence[str]:
        return sorted(self._secrets)


def _no_environments() -> EnvironmentProvider:
    """Return a provider that is never asked: the fake resolver pins every tool to the base environment."""
    return None  # type: ignore[return-value]
