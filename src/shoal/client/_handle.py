"""A handle on a run: wait for it, watch it, read its result."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from shoal.client._view import RunView, Viewer
from shoal.errors import InfrastructureError, RunError, error_from_json
from shoal.model.encoding import decode
from shoal.model.ids import RunId
from shoal.model.run import ParkCommand, RunRecord, RunStatus

if TYPE_CHECKING:
    from shoal.client._client import Client

PARK_TIMEOUT: Final = 4.0
"""Seconds that a daemon has to give a run back."""

VIEW_INTERVAL: Final = 0.1
"""Seconds between two views of a run at least; more where looking itself takes long."""

ABANDONED_AFTER: Final = 5.0
"""Seconds without an owner after which nobody is expected to take a run up."""


class RunHandle:
    """A run of this or another process. Losing the handle does not touch the run."""

    def __init__(
        self,
        client: Client,
        run_id: RunId,
        remarks: tuple[str, ...] = (),
        *,
        reopened: RunRecord | None = None,
        insists: bool = False,
    ) -> None:
        """Hold on to a run by its id; the client makes handles.

        Args:
            client: Who made it.
            run_id: The run.
            remarks: What is worth saying of its start: which tools its lock file did not serve, and why.
            reopened: The run as it had ended, if it was just asked to go on: that end is not the one that is waited for.
            insists: Whether the run is taken up here if its owner turns out to be gone.
        """
        self._old_end = reopened.finished_at if reopened is not None and reopened.status.ended else None
        self._insists = insists
        self._client = client
        self.id = run_id
        self.remarks = remarks

    async def _ended(self) -> RunRecord:
        """Return the run once it has ended or nobody drives it any more; without looking at its steps."""
        if self._client.drives(self.id):
            await self._client.left(self.id)
            run = await self._client.store.run(self.id)
            if self._is_over(run):
                return run
        return (await self.wait()).run

    def _is_over(self, run: RunRecord) -> bool:
        """Whether a run has ended, and not only as it had before it was asked to go on."""
        return run.status.ended and (self._old_end is None or run.finished_at != self._old_end)

    async def wait(self) -> RunView:
        """Return the final view, once the run has ended or nobody drives it any more.

        Raises:
            InfrastructureError: What drove it here could not go on; the run is resumable.
        """
        last: RunView | None = None
        async for view in self.watch():
            last = view
        assert last is not None  # noqa: S101 - watch yields at least once
        return last

    async def watch(self) -> AsyncIterator[RunView]:
        """Yield a fresh view whenever something has changed; the last one is final.

        Raises:
            InfrastructureError: What drove the run here could not go on; the run is resumable.
        """
        store = self._client.store
        viewer = Viewer(store, self._client.blobs, self.id)
        mark: int | None = None
        alone_since: float | None = None
        was_live = False
        while True:
            mark = await store.wait(mark, 1.0)
            before = time.monotonic()
            view = await viewer.look()
            over = self._is_over(view.run)
            waits = view.run.status.ended and not over  # to be reopened
            if not waits:
                yield view
            if over:
                await self._client.left(self.id)
                return
            if self._client.drives(self.id):
                alone_since = None
            else:
                await self._check_abandoned()
                was_live = was_live or view.run.live
                alone_since = None if view.run.live else (alone_since or before)
                given_back = view.run.parked and was_live
                if given_back or (alone_since is not None and before - alone_since > ABANDONED_AFTER):
                    if self._insists and not given_back:
                        self._insists = False
                        await self._client.take_up_abandoned(self.id)
                        continue
                    if waits:
                        yield view
                    return
            took = time.monotonic() - before
            await self._pause(max(VIEW_INTERVAL, 4 * took))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of a run that is driven here."""
        if self._client.drives(self.id):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._client.left(self.id), seconds)
        else:
            await asyncio.sleep(seconds)

    async def _check_abandoned(self) -> None:
        """Raise why a run that was driven here is driven no more."""
        if (failure := self._client.failure(self.id)) is not None:
            raise failure
        if not self._client.drove(self.id):
            return
        run = await self._client.store.run(self.id)
        if run.status.ended:
            return
        reason: InfrastructureError | None = None
        async for event in self._client.events(self.id):
            if event.name == "run.unavailable":
                error = error_from_json(event.data["error"])  # pyright: ignore[reportArgumentType]
                reason = error if isinstance(error, InfrastructureError) else InfrastructureError(error.message)
            elif event.name.startswith("step."):
                reason = None  # it went on since
        if reason is not None:
            raise reason

    async def park(self) -> None:
        """Give the run back: it stops, and waits for an explicit resume. Returns once nobody drives it; at most after 4 s.

        What this process drives is parked when the client is closed.
        """
        if self._client.drives(self.id):
            return
        store = self._client.store
        run = await store.run(self.id)
        if run.status.ended:
            return
        await store.post(run.root_id, ParkCommand())
        mark: int | None = None
        deadline = time.monotonic() + PARK_TIMEOUT
        while run.live and not run.status.ended and time.monotonic() < deadline:
            mark = await store.wait(mark, 0.5)
            run = await store.run(self.id)

    async def result(self) -> dict[str, Any]:
        """Wait, and return the run's outputs as Python objects; pickles of one's own journal are read.

        Raises:
            RunError: The run failed or was canceled; the error of the step that failed, where it is one of Shoal's tree.
            InfrastructureError: Nobody drives it any more; it is resumable.
        """
        run = await self._ended()
        if run.status is RunStatus.SUCCEEDED:
            get = self._client.blobs.get
            outputs = run.outputs or {}
            return {k: decode(v, get, trusted=True) for k, v in outputs.items()}
        if run.error is not None:
            raise run.error
        if run.status.ended:
            raise RunError(f"run {self.id} {run.status.value}", run_id=self.id)
        raise InfrastructureError(f"nobody drives run {self.id} any more", hint=f"`shoal resume {self.id}`")
