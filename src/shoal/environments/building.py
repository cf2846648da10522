"""Building an environment on a node.

Owns `build_here`, which a `NodeRunner` runs in the base environment of the node. An environment is built beside its place and
renamed into it, so whatever dies half-way, what stands is whole.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Final

from shoal import faults
from shoal.environments.base import build_key, site_folders
from shoal.environments.cache import IN_USE, EnvironmentFolder
from shoal.environments.index_settings import IndexSettings
from shoal.environments.sources import stored_wheel
from shoal.environments.uv import Uv, UvFailedError
from shoal.errors import EnvironmentBuildError, IndexUnavailableError, NotFoundError
from shoal.model.tools import BuiltEnvironment, EnvironmentLock
from shoal.ports import BlobStore

_TOOLS: Final = "tool.entrypoint"
"""Entry-point group under which a distribution names the tool that it is."""

_MODULE: Final = "_shoal_environment"

_LOOKS: Final = 100
"""Tries of a process to mark its environment as used, a hundredth of a second apart."""

_IN_USE_CODE: Final = f'''"""Marks this environment as used for as long as this process lives, so that it is not evicted."""

import fcntl
import os
import sys
import time

_held = None
try:
    _held = os.open(os.path.join(sys.prefix, {IN_USE!r}), os.O_RDONLY | os.O_CLOEXEC)
    for _ in range({_LOOKS}):
        try:
            fcntl.flock(_held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        except BlockingIOError:  # somebody looks whether it is in use
            time.sleep(0.01)
except OSError:
    pass
'''


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a node needs to know to build an environment; it pickles.

    Attributes:
        root: Folder of the environments on each node.
        limit: Bytes that they may take in all.
    """

    lock: EnvironmentLock
    root: str
    limit: int
    settings: IndexSettings
    blobs: BlobStore = field(repr=False)


def find_here(plan: BuildPlan) -> BuiltEnvironment | None:
    """Return the environment of a plan if it stands on this node, and note that it was asked for."""
    folder = EnvironmentFolder(Path(plan.root), plan.limit)
    key = build_key(plan.lock.digest, plan.lock.kind)
    return BuiltEnvironment(key, str(folder.python(key)), 0.0, reused=True) if folder.ready(key) else None


def build_here(plan: BuildPlan) -> BuiltEnvironment:
    """Return the environment of a plan on this node, built if it does not stand.

    One process at a time builds an environment; others wait for it and find it built. Different ones are built side by side.

    Raises:
        EnvironmentBuildError: It cannot be built.
        IndexUnavailableError: No index could be reached.
    """
    started = time.monotonic()
    folder = EnvironmentFolder(Path(plan.root), plan.limit)
    key = build_key(plan.lock.digest, plan.lock.kind)
    try:
        if (found := find_here(plan)) is not None:
            return found
        with folder.building(key):
            if (found := find_here(plan)) is not None:  # another process has just built it
                return found
            _build(plan, folder, key)
            folder.make_room(key)
    except UvFailedError as error:
        raise EnvironmentBuildError(f"the environment could not be built: {error.words}") from None
    except NotFoundError as error:
        raise EnvironmentBuildError(
            f"a wheel of the environment is gone from the blobs: {error.message}", hint="start a new run, which builds it again"
        ) from None
    except OSError as error:
        raise EnvironmentBuildError(f"the environment could not be built in {plan.root}: {error}") from error
    return BuiltEnvironment(key, str(folder.python(key)), time.monotonic() - started, reused=False)


def _build(plan: BuildPlan, folder: EnvironmentFolder, key: str) -> None:
    fresh = folder.new_folder(key)
    uv = Uv(folder.root, plan.settings)
    try:
        uv.run(["venv", "--quiet", "--relocatable", "--no-project", "--python", uv.python, str(fresh)], folder.root)
        site = _site_packages(fresh)
        if plan.lock.kind == "overlay":
            _see_the_base(site)
        (site / f"{_MODULE}.py").write_text(_IN_USE_CODE)
        (site / f"{_MODULE}.pth").write_text(f"import {_MODULE}\n")
        if plan.lock.packages:
            _install(plan, fresh, uv)
        folder.write_note(
            fresh,
            {
                "packages": [f"{p.name}=={p.version}" for p in plan.lock.packages],
                "digest": plan.lock.digest,
                "kind": plan.lock.kind,
                "tools": _tools(site),
            },
        )
        os.sync()  # or a rename that survives a power failure could name files that did not
        faults.crash_point("build.before_rename")
        fresh.rename(folder.path(key))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def _see_the_base(site: Path) -> None:
    """Let an overlay see the base's packages, after its own, with what their `.pth` files add (editable installs)."""
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site_folders()]
    (site / "zz_shoal_base.pth").write_text("".join(lines))


def _tools(site: Path) -> list[str]:
    """Return the names of the tools that were installed; nothing of them is imported."""
    entries: list[EntryPoint] = [e for found in distributions(path=[str(site)]) for e in found.entry_points]
    return sorted({entry.name for entry in entries if entry.group == _TOOLS})


def _install(plan: BuildPlan, environment: Path, uv: Uv) -> None:
    with tempfile.TemporaryDirectory(prefix=".install-", dir=environment) as temporary:
        folder = Path(temporary)
        lines: dict[str, str] = {}
        for package in plan.lock.packages:
            hashes = "".join(f" --hash={h}" for h in package.hashes)
            if package.wheel is not None:
                name, data = stored_wheel(package.wheel, plan.blobs)
                (folder / name).write_bytes(data)
                lines[package.name] = f"{package.name} @ {(folder / name).as_uri()}{hashes}"
            else:
                lines[f"{package.name}=={package.version}"] = f"{package.name}=={package.version}{hashes}"
        installation = _Installation(uv, folder, environment / "bin" / "python", plan.settings.flags)
        try:
            installation.run(lines.values(), "--offline")  # what is in the cache is not asked for again
        except (UvFailedError, IndexUnavailableError):
            try:
                installation.run(lines.values())
            except IndexUnavailableError as error:
                missing = ", ".join(installation.missing(lines)) or "something of it"
                raise dataclasses.replace(
                    error, message=f"{missing} must come from the package index: {error.message}"
                ) from None


@dataclass(frozen=True, slots=True)
class _Installation:
    """The calls of uv that put packages into an environment."""

    uv: Uv
    folder: Path
    python: Path
    flags: tuple[str, ...]

    def run(self, lines: Iterable[str], *more: str) -> None:
        (self.folder / "requirements.txt").write_text("\n".join(lines) + "\n")
        fixed = ["--quiet", "--no-deps", "--require-hashes", *self.flags, "--python", str(self.python)]
        self.uv.run(["pip", "install", *fixed, *more, "--requirements", "requirements.txt"], self.folder, locked=True)

    def missing(self, lines: Mapping[str, str]) -> list[str]:
        """Return what of the lines by name cannot be had without the index."""
        found: list[str] = []
        for name, line in lines.items():
            try:
                self.run([line], "--offline", "--target", str(self.folder / "there"))
            except (UvFailedError, IndexUnavailableError):
                found.append(name)
        return found
