"""Environments and workers that later steps will need, made while earlier ones run.

Owns which locks of a run are prepared, and in which order. What goes wrong is told by the step that needs the environment.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from shoal.errors import ShoalError
from shoal.model.tools import BuiltEnvironment, ToolLock
from shoal.ports import EnvironmentProvider, StepExecutor

_log = structlog.get_logger("shoal.runtime")


async def build_ahead(environments: EnvironmentProvider, executor: StepExecutor, locks: Iterable[ToolLock]) -> None:
    """Build the environments of pinned tools, in the order of their steps, then let workers start in them.

    Returns when all stand or have failed, and never raises: the step that needs an environment meets what is wrong with it. A
    new worker takes seconds, whatever is in its environment.
    """
    try:
        await _build_ahead(environments, executor, locks)
    except Exception as error:  # noqa: BLE001 - what is only made ahead must not end the runs that are under way
        _log.warning("environments could not be made ahead", error=repr(error))


async def _build_ahead(environments: EnvironmentProvider, executor: StepExecutor, locks: Iterable[ToolLock]) -> None:
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
