"""Functions on nodes of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from shoal.errors import WorkerLostError
from shoal.executors.ray.library import load_exceptions, load_ray, on_node

T = TypeVar("T")


class RayNodeRunner:
    """The `NodeRunner` of Ray: a task without CPU, in the base environment, pinned to its node; on the driver's a thread.

    The driver is a process of the base environment on its node, as the task's worker would be; that worker would have to be
    started first, which takes longer than most builds.
    """

    async def run_on_node(self, function: Callable[..., T], /, *args: object, node: str | None = None) -> T:
        """Run a function that pickles, on the driver's node if none is named; it is run once, never again."""
        if node is None or node == self.here():
            return await asyncio.to_thread(function, *args)
        ray, rx = load_ray(), load_exceptions()

        where = on_node(node)
        task: Any = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_call)
        try:
            return await task.remote(function, *args)
        except rx.RayTaskError as error:
            raise error.cause from None
        except rx.RayError as error:
            name = getattr(function, "__qualname__", repr(function))
            raise WorkerLostError(f"the worker that ran {name} was lost: {type(error).__name__}") from error

    def here(self) -> str:
        """Return the id of the driver's node."""
        return str(load_ray().get_runtime_context().get_node_id())


def _call(function: Callable[..., T], *args: object) -> T:
    return function(*args)
