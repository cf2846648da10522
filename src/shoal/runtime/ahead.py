"""Environments that later steps will need, made while earlier ones run.

Owns which locks of a run are prepared, and in which order. What goes wrong is told by the step that needs the environment.
"""

from __future__ import annotations

from collections.abc import Iterable

from shoal.model.tools import ToolLock
from shoal.ports import EnvironmentProvider


async def build_ahead(environments: EnvironmentProvider, locks: Iterable[ToolLock]) -> None:
    """Build the environments of pinned tools, in the order of their steps; returns when all stand or have failed."""
    wanted = [lock.environment for lock in locks if lock.environment is not None]
    if wanted:
        await environments.prepare(wanted)
