"""Building an environment on a node.

Owns `build_here`, which a `NodeRunner` runs in the base environment of the node. An environment is built beside its place and
renamed into it, so whatever dies half-way, what stands is whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shoal import faults
from shoal.environments.base import build_key, site_folders
from shoal.environments.cache import IN_USE, EnvironmentFolder
from shoal.environments.index_settings import IndexSettings
from shoal.environments.sources import stored_wheel
from shoal.environments.uv import Uv, UvFailedError
from shoal.errors import EnvironmentBuildError, NotFoundError
from shoal.model.tools import BuiltEnvironment, EnvironmentLock
from shoal.ports import BlobStore

_MODULE: Final = "_shoal_environment"

_IN_USE_CODE: Final = f'''"""Marks this environment as used for as long as this process lives, so that it is not evicted."""

import fcntl
import os
import sys

_held = None
try:
    _held = os.open(os.path.join(sys.prefix, {IN_USE!r}), os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(_held, fcntl.LOCK_SH | fcntl.LOCK_NB)
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
    python = str(folder.python(key))
    if folder.ready(key):
        return BuiltEnvironment(key, python, 0.0, reused=True)
    try:
        with folder.building(key):
            if folder.ready(key):  # another process has just built it
                return BuiltEnvironment(key, python, 0.0, reused=True)
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
    return BuiltEnvironment(key, python, time.monotonic() - started, reused=False)


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
        folder.write_note(fresh, [f"{p.name}=={p.version}" for p in plan.lock.packages])
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


def _install(plan: BuildPlan, environment: Path, uv: Uv) -> None:
    with tempfile.TemporaryDirectory(prefix=".install-", dir=environment) as temporary:
        folder = Path(temporary)
        lines: list[str] = []
        for package in plan.lock.packages:
            hashes = "".join(f" --hash={h}" for h in package.hashes)
            if package.wheel is not None:
                name, data = stored_wheel(package.wheel, plan.blobs)
                (folder / name).write_bytes(data)
                lines.append(f"{package.name} @ {(folder / name).as_uri()}{hashes}")
            else:
                lines.append(f"{package.name}=={package.version}{hashes}")
        (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
        flags = ["--quiet", "--no-deps", "--require-hashes", *plan.settings.flags]
        python = str(environment / "bin" / "python")
        uv.run(["pip", "install", *flags, "--python", python, "--requirements", "requirements.txt"], folder, locked=True)
