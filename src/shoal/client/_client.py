"""The client: starts, resumes and inspects runs, and drives them here when no daemon does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast

from shoal.bootstrap import Platform, PruneReport, open_platform
from shoal.client._diagnosis import Finding, diagnose
from shoal.client._environments import EnvironmentView, prune_environments, standing_environments
from shoal.client._handle import RunHandle
from shoal.client._locks import LockReport, lock_workflow, pinned_beside
from shoal.client._view import RunView, Viewer
from shoal.config import load_settings
from shoal.engine.forking import copied_rows
from shoal.errors import ConflictError, InvalidInputError, LeaseLostError, NotFoundError, RunAlreadyExistsError, ShoalError
from shoal.language.finding import find_workflow
from shoal.language.inputs import check_inputs
from shoal.model.encoding import is_exact_json, json_bytes
from shoal.model.events import Event
from shoal.model.ids import RUN_ID, RunId, StepPath, new_run_id
from shoal.model.run import CancelCommand, NewRun, ResumeCommand, RunRecord, RunSpec, RunStatus, SignalCommand
from shoal.model.serial import to_json
from shoal.model.values import Arguments, Json, Result
from shoal.model.workflow import Workflow
from shoal.ports import BlobStore, LogChunk, RunQuery, RunStore
from shoal.runtime.orchestrator import Orchestrator

Executor = Literal["ray", "inline"]


CONTEXT_LIMIT = 64 * 1024
"""Bytes of JSON that a run's context may have; it goes with every attempt."""


def _check_context(context: Mapping[str, Json] | None) -> None:
    if context is None:
        return
    if not is_exact_json(dict(context)):
        raise InvalidInputError("the context of a run is a JSON object, and this one holds something else")
    size = len(json_bytes(dict(context)))
    if size > CONTEXT_LIMIT:
        raise InvalidInputError(
            f"the context of a run has {size:,} bytes; {CONTEXT_LIMIT:,} are the most", hint="make it an input"
        )


@asynccontextmanager
async def connect(**settings: object) -> AsyncGenerator[Client]:
    """Open the journal and yield a client; on leaving, runs that are driven here are parked, and everything is closed.

    Args:
        **settings: Override `SHOAL_*` variables, by their lower-case names (`home=`, `store=`, ...).

    Raises:
        InvalidInputError: A setting does not have the form it should.
        StoreUnavailableError: The journal cannot be opened.
    """
    client = Client(open_platform(load_settings(**settings)))
    try:
        yield client
    finally:
        await client.close()


class Client:
    """Starts, resumes and inspects runs. For one event loop; made by `connect`."""

    def __init__(self, platform: Platform, *, hands_over: bool = True) -> None:
        """Use an open platform; the client closes it.

        Args:
            platform: What everything is reached through.
            hands_over: Whether runs go to a daemon if there is one; if not, they are always driven here.
        """
        self._platform = platform
        self._hands_over = hands_over
        self._orchestrators: dict[Executor, Orchestrator] = {}
        self._driven: dict[RunId, Orchestrator] = {}

    @property
    def store(self) -> RunStore:
        """Return the journal."""
        return self._platform.store

    @property
    def blobs(self) -> BlobStore:
        """Return the blobs."""
        return self._platform.blobs

    async def close(self) -> None:
        """Park what is driven here, and close everything. Idempotent."""
        try:
            for orchestrator in self._orchestrators.values():
                await orchestrator.close(park=True)
        finally:
            self._orchestrators.clear()
            self._platform.close()

    # ------------------------------------------------------------ starting

    async def start(
        self,
        workflow: str | Path | Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        run_id: str | None = None,
        context: Mapping[str, Json] | None = None,
        executor: Executor | None = None,
        detach: bool = False,
    ) -> RunHandle:
        """Start a run, or attach to the one that has this id.

        The run is durable on return. A `shoal.lock` beside the workflow file pins its
        tools. A daemon of the same home and base environment drives it, if there is one; else this
        process does, until the client is closed. Attaching to a run that nobody drives takes it up.

        Args:
            workflow: A file, an id or a workflow.
            inputs: By name; defaults are filled in.
            run_id: Of 1 to 128 letters, digits, `.`, `_` and `-`; by default a new one.
            context: A JSON object of at most `CONTEXT_LIMIT` bytes that expressions and tools see as `context`.
            executor: `ray` (the default) or `inline`.
            detach: Hand the run to a daemon, started if there is none.

        Raises:
            DefinitionError: The workflow, an input or the file of secrets is wrong; nothing was recorded.
            NotFoundError: There is no such workflow.
            RunAlreadyExistsError: The id belongs to a run of another workflow or with other inputs.
            InfrastructureError: Journal or Ray are unavailable, or what a locked source needs to be built.
        """
        flow = workflow if isinstance(workflow, Workflow) else find_workflow(workflow)
        given = check_inputs(flow, inputs or {})
        if run_id is not None and not RUN_ID.match(run_id):
            raise NotFoundError(f"{run_id!r} cannot be a run id", hint="1 to 128 letters, digits, '.', '_' or '-'")
        _check_context(context)
        kind: Executor = executor or "ray"
        spec = RunSpec(
            flow,
            Arguments(cast("Json", given)),
            dict(context or {}),
            executor=kind,
            fingerprint=self._platform.fingerprint(kind),
        )
        identity = RunId(run_id) if run_id is not None else new_run_id()
        new = NewRun(identity, spec, identity)
        if run_id is not None and (known := await self._known(identity)) is not None:
            return await self._attach(known, spec)
        remarks: tuple[str, ...] = ()
        if (pinned := await pinned_beside(self._platform, flow)) is not None:
            use, locks = pinned
            new, remarks = replace(new, spec=replace(spec, lock_file=use), locks=locks), use.remarks
        try:
            await self._create(new, kind, detach=detach)
        except RunAlreadyExistsError:
            return await self._attach(await self.store.run(identity), spec)
        return RunHandle(self, identity, remarks)

    async def _known(self, run_id: RunId) -> RunRecord | None:
        try:
            return await self.store.run(run_id)
        except NotFoundError:
            return None

    async def _create(self, new: NewRun, kind: Executor, *, detach: bool = False) -> None:
        if detach and kind == "inline":
            raise InvalidInputError("a daemon drives runs on Ray only", hint="leave out --executor inline, or --detach")
        self._platform.check_secrets()
        if kind == "ray" and await self._daemon(start=detach):
            await self.store.create(new)
            return
        if detach:
            raise ConflictError("the daemon runs in another base environment", hint="`shoal down`, then try again")
        orchestrator = await self._orchestrator(kind)
        await orchestrator.start_run(new)
        self._driven[new.id] = orchestrator

    async def _daemon(self, *, start: bool) -> bool:
        """Return whether a daemon drives runs of this base environment; started on request."""
        if start:
            from shoal.daemon import up

            await asyncio.to_thread(up, self._platform.settings)
        return self._hands_over and self._platform.has_daemon()

    async def begin(self, new: NewRun) -> RunHandle:
        """Start a run whose specification was made elsewhere; durable on return, and driven as by `start`.

        Raises:
            RunAlreadyExistsError: The id is taken.
            InfrastructureError: Journal or Ray are unavailable.
        """
        await self._create(new, new.spec.executor)
        return RunHandle(self, new.id)

    def spec_of(self, workflow: Workflow, executor: Executor) -> RunSpec:
        """Return what a new run of a workflow is pinned to, if it is started from here."""
        return RunSpec(workflow, executor=executor, fingerprint=self._platform.fingerprint(executor))

    async def _attach(self, known: RunRecord, spec: RunSpec) -> RunHandle:
        pinned = await self.store.spec(known.id)
        same = to_json(pinned.workflow) == to_json(spec.workflow) and to_json(pinned.inputs) == to_json(spec.inputs)
        if not same:
            what = "inputs" if to_json(pinned.workflow) == to_json(spec.workflow) else "workflow"
            raise RunAlreadyExistsError(
                f"run {known.id} exists with another {what if what == 'workflow' else 'set of inputs'}",
                hint="give another --run-id, or none",
            )
        if not known.status.ended and not known.live:
            return await self._take_up(known, accept_tool_change=False)
        return RunHandle(self, known.id)

    async def _take_up(self, run: RunRecord, *, accept_tool_change: bool) -> RunHandle:
        if self._hands_over and run.executor == "ray" and self._platform.has_daemon():
            await self.store.post(run.id, ResumeCommand(accept_tool_change))
            return RunHandle(self, run.id, reopened=run)
        orchestrator = await self._orchestrator(run.executor)
        await orchestrator.resume(run.id, accept_tool_change=accept_tool_change)
        self._driven[run.root_id] = self._driven[run.id] = orchestrator
        return RunHandle(self, run.id, reopened=run)

    async def _orchestrator(self, kind: Executor) -> Orchestrator:
        found = self._orchestrators.get(kind)
        if found is not None and found.failure is not None:
            await found.close(park=True)
            found = None
        if found is None:
            found = self._platform.orchestrator(kind)
            await found.start()
            self._orchestrators[kind] = found
        return found

    async def resume(self, run_id: str, *, accept_tool_change: bool = False) -> RunHandle:
        """Take up a run under its id: one that nobody drives, or one that failed or was canceled.

        What is recorded does not run again. A run that a live owner drives is attached to.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has succeeded.
        """
        run = await self.store.run(RunId(run_id))
        if run.status is RunStatus.SUCCEEDED:
            raise ConflictError(f"run {run_id} has succeeded; there is nothing to resume", hint=f"`shoal retry {run_id}`")
        if run.live and not run.status.ended:
            return RunHandle(self, run.id, insists=True)
        return await self._take_up(run, accept_tool_change=accept_tool_change)

    async def take_up_abandoned(self, run_id: RunId) -> None:
        """Take up a run whose owner is gone, unless somebody else was faster."""
        try:
            await self._take_up(await self.store.run(run_id), accept_tool_change=False)
        except LeaseLostError:
            return

    async def retry(self, run_id: str) -> RunHandle:
        """Start a new run from the pinned definition, inputs, context and locks of another. Raises `NotFoundError`."""
        old = await self.store.run(RunId(run_id))
        spec = await self.store.spec(old.id)
        identity = new_run_id()
        new = NewRun(identity, spec, identity, retry_of=old.id, locks=old.locks)
        await self._create(new, spec.executor)
        return RunHandle(self, identity)

    async def fork(
        self,
        run_id: str,
        from_step: str,
        *,
        inputs: Mapping[str, Json] | None = None,
        outputs: Mapping[str, Result] | None = None,
        new_id: str | None = None,
    ) -> RunHandle:
        """Start a new run that begins with what another has recorded before a step, and runs that step and what follows anew.

        The other run, which may be of any status, stays as it is.

        Args:
            run_id: The run to fork.
            from_step: Name of a step of its definition.
            inputs: Inputs to change; what is taken over was made with the old ones.
            outputs: Outputs, by step, that take the place of recorded ones.
            new_id: Id of the new run; by default a new one.

        Raises:
            NotFoundError: There is no such run or step.
            InvalidInputError: The inputs do not fit, or outputs are given for a step that runs anew.
            ConflictError: The run had not come to that step.
            RunAlreadyExistsError: The new id is taken.
        """
        new = await self.forked(run_id, from_step, inputs=inputs, outputs=outputs, new_id=new_id)
        await self._create(new, new.spec.executor)
        return RunHandle(self, new.id)

    async def forked(
        self,
        run_id: str,
        from_step: str,
        *,
        inputs: Mapping[str, Json] | None = None,
        outputs: Mapping[str, Result] | None = None,
        new_id: str | None = None,
    ) -> NewRun:
        """Return the run that `fork` would start; nothing is recorded. Arguments and errors are those of `fork`."""
        old = await self.store.run(RunId(run_id))
        spec = await self.store.spec(old.id)
        if inputs:
            tree = {**cast("dict[str, Json]", spec.inputs.tree), **inputs}
            if any(path[0] not in inputs for path, _ in spec.inputs.holes):
                raise InvalidInputError("the run has inputs that are no JSON; they cannot be changed one by one")
            spec = replace(spec, inputs=Arguments(cast("Json", check_inputs(spec.workflow, tree))))
        rows = copied_rows(spec.workflow, from_step, await self.store.steps(old.id), outputs or {})
        identity = RunId(new_id) if new_id is not None else new_run_id()
        return NewRun(identity, spec, identity, retry_of=old.id, locks=old.locks, steps=rows)

    # ------------------------------------------------------------ tools

    async def lock_tools(self, workflow: str | Path | Workflow, *, upgrade: bool = False, check: bool = False) -> LockReport:
        """Write the exact packages of a workflow's tools, sub-workflows included, to `shoal.lock` beside its file.

        Entries that still suit stay as they are, and so do those of other workflows of the folder. The file is replaced at
        once, or not at all; nothing is written if nothing changed.

        Args:
            workflow: A file, an id, or a workflow that came from a file.
            upgrade: Resolve every tool of the workflow anew.
            check: Only look: nothing is resolved or written, and the report has a problem for each tool that is not locked.

        Raises:
            DefinitionError: The workflow is wrong, or the lock file is broken or none of ours.
            NotFoundError: There is no such workflow.
            ToolResolutionError: Some tool cannot be had; names every such step.
            IndexUnavailableError: No index could be reached.
        """
        flow = workflow if isinstance(workflow, Workflow) else find_workflow(workflow)
        return await lock_workflow(self._platform, flow, upgrade=upgrade, check=check)

    def environments(self) -> tuple[EnvironmentView, ...]:
        """Return the environments that stand on this host, the longest unused first."""
        return standing_environments(self._platform)

    def prune_environments(
        self, *, older_than: timedelta | None, max_size: int | None, dry_run: bool = False
    ) -> tuple[EnvironmentView, ...]:
        """Remove environments of this host, the longest unused first, and what killed builds left; return which went.

        One in use by a live worker, or held by a process that drives runs, is never removed.

        Args:
            older_than: Those that no run has asked for within that time; None: none for their age.
            max_size: Of the rest so many that the others take at most these bytes; None: none for their size.
            dry_run: Only say what would be removed.
        """
        return prune_environments(self._platform, older_than=older_than, max_size=max_size, dry_run=dry_run)

    # ------------------------------------------------------------ acting

    async def cancel(self, run_id: str) -> None:
        """Ask for a run to be canceled; durable on return, and carried out by whoever drives it.

        A run that nobody drives is taken up here for the purpose, so that its `finally` steps run.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has ended.
        """
        run = await self.store.run(RunId(run_id))
        if run.status.ended:
            raise ConflictError(f"run {run_id} has ended: {run.status.value}")
        await self.store.post(run.id, CancelCommand())
        if not run.live:
            await (await self._take_up(run, accept_tool_change=True)).wait()

    async def signal(self, run_id: str, name: str, payload: Json = None) -> None:
        """Send a signal; kept until a step of the run waits for it.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It has ended.
        """
        run = await self.store.run(RunId(run_id))
        if run.status.ended:
            raise ConflictError(f"run {run_id} has ended: {run.status.value}")
        await self.store.post(run.id, SignalCommand(name, payload))

    async def delete(self, run_id: str) -> None:
        """Delete a run, its sub-workflows and its logs; blobs go with the next `prune`.

        Raises:
            NotFoundError: There is none.
            ConflictError: It has a live owner.
        """
        await self._platform.delete(RunId(run_id))

    async def prune(self, *, older_than: timedelta | None, keep: int | None, dry_run: bool = False) -> PruneReport:
        """Delete ended runs by age and number, then blobs that nothing names.

        Args:
            older_than: Runs that ended longer ago; None: of any age.
            keep: The newest so many of each workflow stay; None: none.
            dry_run: Only say what would be deleted.
        """
        return await self._platform.prune(older_than=older_than, keep=keep, dry_run=dry_run)

    # ------------------------------------------------------------ looking

    async def runs(self, query: RunQuery | None = None) -> Sequence[RunRecord]:
        """Return runs, the newest first."""
        return await self.store.runs(query or RunQuery())

    async def show(self, run_id: str) -> RunView:
        """Return a run as it stands. Raises `NotFoundError`."""
        return await Viewer(self.store, self.blobs, RunId(run_id)).look()

    async def handle(self, run_id: str) -> RunHandle:
        """Return a handle on a run. Raises `NotFoundError`."""
        return RunHandle(self, (await self.store.run(RunId(run_id))).id)

    async def workflow(self, run_id: str) -> Workflow:
        """Return the pinned workflow of a run. Raises `NotFoundError`."""
        return (await self.store.spec(RunId(run_id))).workflow

    async def logs(self, run_id: str, step: str | None = None, *, follow: bool = False) -> AsyncIterator[LogChunk]:
        """Yield what attempts printed, attempt by attempt; with `follow`, until the run has ended.

        Raises:
            NotFoundError: There is no such run, or no such step in it.
        """
        run = await self.store.run(RunId(run_id))
        if step is not None:
            await self._check_step(run.id, step)
        seen: dict[str, int] = {}
        while True:
            for chunk in self._platform.logs.read(run.id, StepPath(step) if step else None, after=seen):
                seen[f"{chunk.path}@{chunk.number}"] = chunk.offset + len(chunk.data)
                yield chunk
            if not follow or run.status.ended:
                return
            await asyncio.sleep(0.25)
            run = await self.store.run(run.id)

    async def _check_step(self, run_id: RunId, step: str) -> None:
        """Refuse a path that no step of a run has, neither of its definition nor among what was recorded."""
        flow = await self.workflow(run_id)
        defined = any(s.name == step for s in (*flow.steps, *flow.finally_steps))
        if not defined and all(found.path != step for found in await self.store.steps(run_id)):
            raise NotFoundError(f"run {run_id} has no step {step!r}", hint=f"`shoal show {run_id}` lists them")

    async def events(self, run_id: str, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """Yield a run's events in order; with `follow`, until it has ended. Raises `NotFoundError`."""
        mark: int | None = None
        while True:
            run = await self.store.run(RunId(run_id))
            while found := await self.store.events(run.id, after=after):
                for event in found:
                    yield event
                after = found[-1].seq
            if not follow or run.status.ended:
                return
            mark = await self.store.wait(mark, 1.0)

    def diagnose(self) -> AsyncIterator[Finding]:
        """Yield what a look at the set-up finds."""
        return diagnose(self._platform)

    # ------------------------------------------------------------ for handles

    def drives(self, run_id: RunId) -> bool:
        """Return whether a run is being driven here."""
        orchestrator = self._driven.get(run_id)
        return orchestrator is not None and orchestrator.failure is None and orchestrator.is_driving(run_id)

    def drove(self, run_id: RunId) -> bool:
        """Return whether a run was ever driven here."""
        return run_id in self._driven

    def failure(self, run_id: RunId) -> ShoalError | None:
        """Return why the orchestrator of a run here gave up."""
        orchestrator = self._driven.get(run_id)
        return orchestrator.failure if orchestrator is not None else None

    async def left(self, run_id: RunId) -> None:
        """Wait until a run that has ended is no longer held here."""
        orchestrator = self._driven.get(run_id)
        if orchestrator is not None:
            await orchestrator.wait_left(run_id)
