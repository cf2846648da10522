"""The orchestrator in a detached actor: workflows go on when the process that started them ends.

Owns the actor and its name: one for each home, pinned to the node of the journal. It is this package's session in another
process, and opens the same journal; whoever reaches it (any process of the cluster) may have runs of that journal driven.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

from shoal.config import load_settings
from shoal.executors.ray.cluster import NAMESPACE
from shoal.executors.ray.library import on_node
from shoal.model.ids import RunId
from shoal.workflow._outcome import output_of, task_output
from shoal.workflow._ray import ray
from shoal.workflow._session import Plan, Session

_SLOTS = 1_000_000
_STOP = 15.0


class Host:
    """The actor."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._session = Session(plan)

    async def plan(self) -> Plan:
        """Return how it was set up."""
        return self._plan

    async def take(self, run_id: RunId, accept: bool) -> None:
        """Drive a run, or let it wait for its turn."""
        await asyncio.wrap_future(self._session.portal.begin(self._session.take(run_id, accept=accept)))

    async def is_here(self, run_id: RunId) -> bool:
        """Return whether a run is driven here or waits for its turn."""
        return self._session.turns.is_here(run_id)

    async def result(self, run_id: RunId, task_id: str | None) -> Any:
        """Return the output of a run or task once it is there."""
        made = output_of(self._session, run_id) if task_id is None else task_output(self._session, run_id, task_id)
        return await asyncio.wrap_future(self._session.portal.begin(made))

    async def close(self) -> None:
        """Park what is driven here, and close everything."""
        await asyncio.to_thread(self._session.close)


def name_of(plan: Plan) -> str:
    """Return the name of the actor of a home."""
    found = load_settings(**plan.settings)
    return f"shoal-workflow-{hashlib.sha256(found.store.encode()).hexdigest()[:16]}"


def host(plan: Plan) -> HostHandle:
    """Return the actor of a home, started if there is none.

    Raises:
        ValueError: It has other limits.
    """
    found = load_settings(**plan.settings)
    settings: dict[str, object] = {"home": str(found.home), "store": found.store, "blobs": found.blobs}
    wanted = replace(plan, detached=False, settings=settings)
    actor = ray.remote(
        num_cpus=0,
        max_concurrency=_SLOTS,
        name=name_of(plan),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        scheduling_strategy=on_node(str(ray.get_runtime_context().get_node_id())),
    )(Host).remote(wanted)
    there: Plan = ray.get(actor.plan.remote())
    limits = ((plan.running, there.running), (plan.pending, there.pending))
    if any(mine is not None and mine != theirs for mine, theirs in limits):
        raise ValueError(
            f"the detached actor was set up with max_running_workflows={there.running}, max_pending_workflows={there.pending}"
        )
    return HostHandle(actor)


class HostHandle:
    """The actor, from another process."""

    def __init__(self, actor: Any) -> None:
        """Hold on to the actor."""
        self._actor = actor

    def take(self, run_id: RunId, *, accept: bool) -> None:
        """Have a run driven there; it is, or waits for its turn, on return.

        Raises:
            queue.Full: There is no room for one that waits.
        """
        try:
            ray.get(self._actor.take.remote(run_id, accept))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def is_here(self, run_id: RunId) -> bool:
        """Return whether a run is driven there or waits for its turn."""
        return bool(ray.get(self._actor.is_here.remote(run_id)))

    def result(self, run_id: RunId, task_id: str | None) -> Any:
        """Return an `ObjectRef` of the output of a run or task."""
        return self._actor.result.remote(run_id, task_id)

    def stop(self) -> None:
        """Park what is driven there, and end the actor."""
        ray.get(self._actor.close.remote(), timeout=_STOP)
        ray.kill(self._actor)
