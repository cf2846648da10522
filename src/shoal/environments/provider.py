"""The environments of tools, made by uv.

Owns `UvEnvironments`, the `EnvironmentProvider`: locks are made where it runs, environments where its `NodeRunner` runs them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shoal.environments.base import fingerprint, machine
from shoal.environments.building import BuildPlan, build_here, find_here
from shoal.environments.cache import EnvironmentFolder
from shoal.environments.compiling import Kind, checked, compile_lock, lock_of
from shoal.environments.index_settings import IndexSettings, index_settings
from shoal.environments.notes import write_whole
from shoal.environments.sources import BuiltSource, build_source
from shoal.environments.underway import BuildsUnderway
from shoal.environments.uv import Uv
from shoal.errors import EnvironmentBuildError
from shoal.model.run import Progress
from shoal.model.serial import from_json, to_json
from shoal.model.tools import BuiltEnvironment, EnvironmentLock
from shoal.ports import BlobStore, NodeRunner

DEFAULT_LIMIT: Final = 20 * 1024**3
"""Bytes that the environments of a node may take before unused ones are removed."""

_TRIES: Final = 3
"""Builds of an environment that is removed as soon as it stands."""

_KEPT_FORM: Final = 2
"""Of the locks that are kept; one of another form is made anew."""

_LOCK_KEPT_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Inputs:
    """All that a lock depends on, but for what an index holds."""

    requirements: tuple[str, ...]
    sources: Mapping[str, BuiltSource]
    kind: Kind


class UvEnvironments:
    """Environments by overlay: a venv of their own that also sees the base environment, or one that does not.

    Args:
        root: Folder of the environments on each node.
        blobs: Keeps the wheels built from direct references.
        runner: Where builds run.
        variables: The process's environment variables; pip's and uv's settings are read from them.
        limit: Bytes that the environments of a node may take before unused ones are removed.
        fresh: Whether every lock is made anew, also one of exact requirements that was made today.
    """

    def __init__(
        self,
        root: Path,
        blobs: BlobStore,
        runner: NodeRunner,
        *,
        variables: Mapping[str, str],
        limit: int = DEFAULT_LIMIT,
        fresh: bool = False,
    ) -> None:
        self._root = root
        self._blobs = blobs
        self._runner = runner
        self._variables = variables
        self._limit = limit
        self._fresh = fresh
        self._underway = BuildsUnderway()
        self._held: dict[str, int] = {}

    async def lock(self, requirements: Sequence[str], *, process: bool, base_dir: str | None) -> EnvironmentLock:
        """Resolve requirements; of several calls with the same exact ones within a day all but the first ask no index."""
        return await asyncio.to_thread(self._lock, tuple(requirements), "process" if process else "overlay", base_dir)

    async def build(
        self, lock: EnvironmentLock, *, node: str | None = None, tell: Callable[[Progress], None] | None = None
    ) -> BuiltEnvironment:
        """Return the environment; one that stands on this host costs neither the runner nor a resolver nor an index."""
        names = ", ".join(f"{p.name} {p.version}" for p in lock.packages[:3]) + (", ..." if len(lock.packages) > 3 else "")  # noqa: PLR2004
        if tell is not None:
            tell(Progress(0, 1, f"building {names}"))
        built = await self._underway.wait((lock.digest, node), lambda: self._build(lock, node))
        if tell is not None:
            tell(Progress(1, 1, f"{names}: there already" if built.reused else f"{names}: built in {built.seconds:.1f} s"))
        return built

    async def prepare(self, locks: Sequence[EnvironmentLock], *, node: str | None = None) -> None:
        """Build environments ahead of their use."""
        unique = {lock.digest: lock for lock in locks}
        builds = (self._underway.ahead((d, node), functools.partial(self._build, lock, node)) for d, lock in unique.items())
        await asyncio.gather(*builds)

    async def _build(self, lock: EnvironmentLock, node: str | None) -> BuiltEnvironment:
        plan = BuildPlan(lock, str(self._root), self._limit, index_settings(self._variables), self._blobs)
        if node is not None and node != self._runner.here():
            return await self._runner.run_on_node(build_here, plan, node=node)
        for _ in range(_TRIES):
            if (built := await self._held_here(plan)) is not None:
                return built
        raise EnvironmentBuildError("the environment was removed each time as soon as it stood")

    async def _held_here(self, plan: BuildPlan) -> BuiltEnvironment | None:
        """Return the environment on this host, kept from removal; None if somebody removed it before that."""
        try:
            found = await asyncio.to_thread(find_here, plan)
        except OSError as error:
            raise EnvironmentBuildError(f"the environments in {self._root} cannot be looked at: {error}") from error
        built = found if found is not None else await self._runner.run_on_node(build_here, plan)
        return built if self._hold(built.key) else None

    def _hold(self, key: str) -> bool:
        """Keep an environment of this host from being removed as long as this process may start workers in it."""
        fresh = self.folder().hold(key)
        if fresh is None:
            return False
        if (old := self._held.pop(key, None)) is not None:
            os.close(old)
        self._held[key] = fresh
        return True

    def close(self) -> None:
        """Let environments be removed again. Idempotent."""
        while self._held:
            os.close(self._held.popitem()[1])

    def fingerprint(self) -> str:
        """Return the fingerprint of the base environment of this process."""
        return fingerprint()

    def folder(self) -> EnvironmentFolder:
        """Return the environments that stand on this host."""
        return EnvironmentFolder(self._root, self._limit)

    def _lock(self, requirements: tuple[str, ...], kind: Kind, base_dir: str | None) -> EnvironmentLock:
        uv = Uv(self._root, index_settings(self._variables))
        parsed = checked(requirements)
        if not parsed:
            return lock_of(kind, ())
        sources: dict[str, BuiltSource] = {
            canonicalize_name(r.name): build_source(r, base_dir=base_dir, blobs=self._blobs, uv=uv)
            for r in parsed
            if r.url is not None
        }
        inputs = _Inputs(
            tuple(sorted(str(r) for r in parsed if r.url is None)),
            sources,
            kind,
        )
        kept = self._kept(inputs, uv.settings) if all(r.url or _exact(r) for r in parsed) else None
        found = None if kept is None or self._fresh else _read(kept)
        if found is None:
            found = compile_lock(inputs.requirements, inputs.sources, kind=kind, uv=uv)
            if kept is not None:
                _write(kept, found)
        return found

    def _kept(self, inputs: _Inputs, settings: IndexSettings) -> Path:
        """Return where the lock of exact requirements is kept: by all that it depends on, find-links folders included."""
        links = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for f in settings.folders for p in sorted(Path(f).iterdir())]
        content = [
            *(_KEPT_FORM, inputs.requirements, inputs.kind, fingerprint(), machine(), links),
            sorted((name, s.requirement, s.digest) for name, s in inputs.sources.items()),
            sorted(settings.variables.items()),
            settings.flags,
            sorted((k, v) for k, v in self._variables.items() if k.startswith("UV_")),
        ]
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return self._root / "resolved" / f"{key}.json"


def _exact(requirement: Requirement) -> bool:
    specifiers = list(requirement.specifier)
    return len(specifiers) == 1 and specifiers[0].operator == "==" and not specifiers[0].version.endswith(".*")


def _read(path: Path) -> EnvironmentLock | None:
    try:
        if time.time() - path.stat().st_mtime > _LOCK_KEPT_SECONDS:
            return None
        return from_json(EnvironmentLock, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, lock: EnvironmentLock) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.iterdir():
        if time.time() - old.stat().st_mtime > _LOCK_KEPT_SECONDS:
            old.unlink(missing_ok=True)
    write_whole(path, json.dumps(to_json(lock)).encode())
