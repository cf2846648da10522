"""Object references of workflows that have not ended.

Owns the small actor behind them: it has no CPU, and any process of the cluster may wait for what it will return. It is told of
ends by the process that follows the run; losing it loses references, never a run.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from shoal.errors import InfrastructureError, ShoalError
from shoal.executors.ray.library import near_node
from shoal.workflow._outcome import output_of, task_output
from shoal.workflow._ray import ray

if TYPE_CHECKING:
    from shoal.model.ids import RunId
    from shoal.workflow._session import Session


class Waiting:
    """The actor."""

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Future[tuple[Any, BaseException | None]]] = {}

    def _end(self, number: int) -> asyncio.Future[tuple[Any, BaseException | None]]:
        if number not in self._ends:
            self._ends[number] = asyncio.get_running_loop().create_future()
        return self._ends[number]

    async def result(self, number: int) -> Any:
        """Return what a promise is kept with."""
        value, error = await self._end(number)
        self._ends.pop(number, None)
        if error is not None:
            raise error
        return value

    async def keep(self, number: int, value: Any, error: BaseException | None) -> None:
        """Keep a promise."""
        end = self._end(number)
        if not end.done():
            end.set_result((value, error))


_SLOTS = 1_000_000
"""Calls that wait at once; each is a coroutine."""


class Desk:
    """Makes references, and sees to it that each is kept."""

    def __init__(self, session: Session) -> None:
        """Start the actor, near this process."""
        node = str(ray.get_runtime_context().get_node_id())
        actor: Any = ray.remote(num_cpus=0, max_concurrency=_SLOTS, scheduling_strategy=near_node(node))(Waiting)
        self._session = session
        self._actor: Any = actor.remote()
        self._number = 0

    def promise(self, run_id: RunId, task_id: str | None = None) -> Any:
        """Return a reference to the output of a run or of one of its tasks."""
        self._number += 1
        number = self._number
        ref = self._actor.result.remote(number)
        self._session.portal.begin(self._keep(number, run_id, task_id))
        return ref

    async def _keep(self, number: int, run_id: RunId, task_id: str | None) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            made = output_of(self._session, run_id) if task_id is None else task_output(self._session, run_id, task_id)
            value = await made
        except asyncio.CancelledError:
            error = InfrastructureError(f"the process that drove workflow {run_id} ended", hint="workflow.resume")
        except ShoalError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - reading a value runs its author's code
            error = problem
        with contextlib.suppress(Exception):  # Ray may be gone, and with it whoever waits
            self._actor.keep.remote(number, value, error)
