"""The connection of one process to the journal, and the orchestrator that drives its workflows.

Owns the life of a run as the API sees it: recorded, waiting for its turn, driven, ended. Everything but `open` and `close` is
called in the portal's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shoal.bootstrap import open_platform
from shoal.client import Client
from shoal.client._client import Executor
from shoal.config import load_settings
from shoal.errors import InfrastructureError, LeaseLostError, NotFoundError, RunAlreadyExistsError, ShoalError
from shoal.model.ids import RunId
from shoal.model.run import NewRun, RunRecord, RunStatus
from shoal.model.workflow import Workflow
from shoal.ports import RunQuery
from shoal.workflow._portal import Portal
from shoal.workflow._queue import Turns
from shoal.workflow.exceptions import WorkflowNotFoundError

ABANDONED_AFTER: Final = 5.0
"""Seconds without an owner after which nobody is expected to take a run up."""

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How a session is set up.

    Attributes:
        executor: `ray`, or `inline`: threads of this process.
        running: Workflows at a time; None: as many as there are.
        pending: Workflows that may wait for their turn.
        detached: Whether an actor drives them that outlives this process.
        accept_code_change: Whether tasks run although their code is not what it was.
        settings: Of Shoal: `home` and the like.
    """

    executor: Executor = "ray"
    running: int | None = None
    pending: int | None = None
    detached: bool = False
    accept_code_change: bool = False
    settings: Mapping[str, object] = field(default_factory=dict[str, object])


class Session:
    """The runs of one process, in a thread of their own."""

    def __init__(self, plan: Plan) -> None:
        """Open the journal.

        Raises:
            InvalidInputError: A setting does not have the form it should.
            StoreUnavailableError: The journal cannot be opened.
        """
        self.plan: Final = plan
        self.portal: Final = Portal()
        try:
            self.client: Final = self.portal.call(self._open())
        except BaseException:
            self.portal.close()
            raise
        self.turns: Final = Turns(plan.running, plan.pending)
        self.servers: Final[list[asyncio.Server]] = []

    async def _open(self) -> Client:
        return Client(open_platform(load_settings(**self.plan.settings)), hands_over=False)

    def close(self) -> None:
        """Park what is driven here, close everything, end the thread."""
        self.portal.call(self._close())
        self.portal.close()

    async def _close(self) -> None:
        for server in self.servers:
            server.close()
        await self.portal.settle()
        await self.client.close()

    # ------------------------------------------------------------ in the loop

    async def record(self, run_id: RunId) -> RunRecord:
        """Return a run.

        Raises:
            WorkflowNotFoundError: There is none.
        """
        try:
            return await self.client.store.run(run_id)
        except NotFoundError:
            raise WorkflowNotFoundError(f"there is no workflow {run_id!r}", workflow_id=run_id) from None

    async def records(self) -> Sequence[RunRecord]:
        """Return all runs but those of sub-workflows, the oldest first."""
        found: list[RunRecord] = []
        while page := await self.client.runs(RunQuery(before=found[-1].id if found else None, limit=_PAGE)):
            found += page
        return found[::-1]

    def new_run(self, flow: Workflow, run_id: RunId) -> NewRun:
        """Return a run of a workflow, not yet recorded."""
        return NewRun(run_id, self.client.spec_of(flow, self.plan.executor), run_id)

    async def launch(self, new: NewRun) -> None:
        """Start a run, or take the one up that has its id; durable on return.

        Raises:
            queue.Full: It would have to wait for its turn, and there is no room left.
        """
        run_id = new.id
        try:
            if self.turns.must_wait(run_id):
                await self.client.store.create(replace(new, parked=True))
                self.turns.line_up(run_id, lambda: self._begin_at_last(run_id, RunStatus.PENDING))
                return
            self.turns.enter(run_id)
            await self.client.begin(new)
        except RunAlreadyExistsError:
            await self.turns.leave(run_id)
            await self.take(run_id)
            return
        except BaseException:
            await self.turns.leave(run_id)
            raise
        self.portal.spawn(self._follow(run_id))

    async def create(self, new: NewRun) -> None:
        """Record a run, unless there is one of its id, for another process to take up."""
        try:
            await self.client.store.create(replace(new, parked=True))
        except RunAlreadyExistsError:
            return

    async def take(self, run_id: RunId, *, accept: bool = False) -> None:
        """Take a run up unless it has succeeded, somebody drives it, or it waits for its turn here.

        Raises:
            WorkflowNotFoundError: There is none.
            queue.Full: It would have to wait for its turn, and there is no room left.
        """
        run = await self.record(run_id)
        if run.status is RunStatus.SUCCEEDED or (run.live and not run.status.ended) or self.turns.is_here(run_id):
            return
        if self.turns.must_wait(run_id):
            self.turns.line_up(run_id, lambda: self._begin_at_last(run_id, run.status, accept=accept))
            return
        self.turns.enter(run_id)
        await self._begin(run_id, accept=accept)

    async def _begin_at_last(self, run_id: RunId, before: RunStatus, *, accept: bool = False) -> None:
        """Drive a run that has waited for its turn, unless it has ended or was deleted meanwhile."""
        try:
            now = (await self.record(run_id)).status
            if not now.ended or now is before:
                await self._begin(run_id, accept=accept)
                return
        except ShoalError:
            pass  # whoever waits for it finds out by looking at it
        self.turns.forget(run_id)

    async def _begin(self, run_id: RunId, *, accept: bool = False) -> None:
        """Drive a run that has its turn."""
        try:
            await self.client.resume(run_id, accept_tool_change=accept or self.plan.accept_code_change)
        except (LeaseLostError, NotFoundError):
            await self.turns.leave(run_id)  # somebody else was faster, or deleted it
            return
        except BaseException:
            await self.turns.leave(run_id)
            raise
        self.portal.spawn(self._follow(run_id))
        # Until its reopening is recorded, others would take it for one that has ended, and its old end for the new one.
        while self.client.drives(run_id) and (await self.record(run_id)).status.ended:  # noqa: ASYNC110 - rare, and over with the next turn
            await asyncio.sleep(0.005)

    async def _follow(self, run_id: RunId) -> None:
        """Give the turn of a run back once it is not driven here any more."""
        await self.client.left(run_id)
        await self.turns.leave(run_id)

    async def ended(self, run_id: RunId) -> RunRecord:
        """Return a run once it has ended.

        Raises:
            WorkflowNotFoundError: There is none.
            InfrastructureError: Nobody drives it any more; it is resumable.
        """
        mark: int | None = None
        alone_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            if self.client.drives(run_id):
                await self.client.left(run_id)
            run = await self.record(run_id)
            if run.status.ended and not self.client.drives(run_id):
                return run
            if (failure := self.client.failure(run_id)) is not None:
                raise failure
            if run.live or self.client.drives(run_id) or run.status is RunStatus.PENDING:
                alone_since = None
            else:
                alone_since = alone_since or loop.time()
                if loop.time() - alone_since > ABANDONED_AFTER:
                    raise InfrastructureError(f"nobody drives workflow {run_id} any more", hint="workflow.resume")
            mark = await self.client.store.wait(mark, 1.0)
            await asyncio.sleep(0.01)

    async def cancel(self, run_id: RunId) -> None:
        """Cancel a run, and return once it has ended; nothing happens to one that has."""
        run = await self.record(run_id)
        if run.status.ended:
            return
        self.turns.give_up(run_id)
        try:
            await self.client.cancel(run_id)
        except ShoalError:
            if not (await self.record(run_id)).status.ended:
                raise
            return
        await self.ended(run_id)


def settings_of(given: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings that were given."""
    return {name: value for name, value in given.items() if value is not None}
