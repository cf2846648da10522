"""What `doctor` can find without the journal: interpreter, settings, folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shoal import __version__
from shoal.cli.spans import bytes_text
from shoal.config import load_settings
from shoal.errors import ShoalError

_LEAST_SPACE = 1024**3


@dataclass(frozen=True, slots=True)
class LocalFinding:
    """One thing that was looked at; `ok` is None where it is neither right nor wrong."""

    name: str
    ok: bool | None
    detail: str
    hint: str | None = None


def local_findings() -> Iterator[LocalFinding]:
    """Yield what can be said of this process and its folders; starts nothing and creates nothing."""
    python = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    yield LocalFinding("shoal", ok=True, detail=f"{__version__}, {python}")
    try:
        yield LocalFinding("ray", ok=True, detail=version("ray"))
    except PackageNotFoundError:
        yield LocalFinding("ray", ok=False, detail="not installed", hint="install shoal again, into an environment of its own")
    try:
        settings = load_settings()
    except ShoalError as error:
        yield LocalFinding("settings", ok=False, detail=error.message, hint=error.hint)
        return
    yield LocalFinding("settings", ok=True, detail=f"SHOAL_HOME {settings.home}, SHOAL_STORE {settings.store}")
    yield _home(settings.home)
    yield _space(settings.home)


def _home(home: Path) -> LocalFinding:
    standing = _nearest(home)
    if home.exists() and not home.is_dir():
        return LocalFinding("home", ok=False, detail=f"{home} is no folder", hint="set SHOAL_HOME to a folder")
    if not os.access(standing, os.W_OK | os.X_OK):
        return LocalFinding(
            "home", ok=False, detail=f"{standing} cannot be written", hint="set SHOAL_HOME to a folder of yours"
        )
    return LocalFinding("home", ok=True, detail=f"{home} " + ("is writable" if home.exists() else "will be made"))


def _space(home: Path) -> LocalFinding:
    free = shutil.disk_usage(_nearest(home)).free
    hint = "results, logs and environments need room: `shoal prune`, or another SHOAL_HOME"
    return LocalFinding("disk", ok=free >= _LEAST_SPACE, detail=f"{bytes_text(free)} free", hint=hint)


def _nearest(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())
