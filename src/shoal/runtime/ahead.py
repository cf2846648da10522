"""Environments and workers that later steps will need, made while earlier ones run.

Owns which locks of a run are prepared, and in which order. What goes wrong is told by the step that needs the environment.
"""

from __future__ import annotations

from collections.abc import Iterable

from shoal.errors import ShoalError
from shoal.model.tools import BuiltEnvironment, ToolLock
from shoal.ports import EnvironmentProvider, StepExecutor


async def build_ahead(environments: EnvironmentProvider, executor: StepExecutor, locks: Iterable[ToolLock]) -> None:
    """Build the environments of pinned tools, in the order of their steps, then let workers start in them.

    Returns when all stand or have failed. A new worker takes seconds, whatever is in its environment.
    """
    wanted = list(dict.fromkeys(lock.environment for lock in locks if lock.environment is not None))
    if not wanted:
        return
    await environments.prepare(wanted)
    built: list[BuiltEnvironment] = []
    for lock in wanted:
        if lock.kind == "overlay":
            try:
                built.append(await environments.build(lock))
            except ShoalError:
                continue
    executor.prepare(built)
