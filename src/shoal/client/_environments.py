"""The environments that stand on this host, as clients see them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shoal.bootstrap import Platform

if TYPE_CHECKING:
    from shoal.environments.cache import EnvironmentFolder, StandingEnvironment


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """An environment that stands on this host.

    Attributes:
        key: The build key; also the name of its folder.
        digest: Of its lock.
        kind: `overlay`: beside the base environment. `process`: holds nothing of it.
        tools: Names of the tools that it holds.
        packages: `name==version`, without those of the base environment.
        bytes: What it takes; files that are shared with the cache of downloads count too.
        built_at: When it was built.
        used_at: When a run last asked for it.
        in_use: Whether a process uses it, or a process that drives runs may.
        node: Name of the host.
    """

    key: str
    digest: str
    kind: str
    tools: tuple[str, ...]
    packages: tuple[str, ...]
    bytes: int
    built_at: datetime
    used_at: datetime
    in_use: bool
    node: str


def standing_environments(platform: Platform) -> tuple[EnvironmentView, ...]:
    """Return the environments of this host, the longest unused first."""
    folder = platform.index().folder()
    return tuple(_view(e, folder) for e in folder.standing())


def prune_environments(
    platform: Platform, *, older_than: timedelta | None, max_size: int | None, dry_run: bool
) -> tuple[EnvironmentView, ...]:
    """Remove environments of this host by age and size, never one in use; return which."""
    folder = platform.index().folder()
    age = older_than.total_seconds() if older_than is not None else None
    gone = folder.prune(older_than=age, max_size=max_size, dry_run=dry_run)
    return tuple(_view(e, None) for e in gone)


def _view(environment: StandingEnvironment, folder: EnvironmentFolder | None) -> EnvironmentView:
    return EnvironmentView(
        environment.key,
        environment.digest,
        environment.kind,
        environment.tools,
        environment.packages,
        environment.size,
        datetime.fromtimestamp(environment.built or environment.asked, UTC),
        datetime.fromtimestamp(environment.asked, UTC),
        folder.in_use(environment.key) if folder is not None else False,
        socket.gethostname(),
    )
