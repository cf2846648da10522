"""What `doctor` can find without the journal: settings, interpreter, folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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


def settings_finding() -> LocalFinding:
    """Return whether the settings can be read, and which they are."""
    try:
        settings = load_settings()
    except ShoalError as error:
        return LocalFinding("settings", ok=False, detail=error.message, hint=error.hint)
    where = settings.ray_address or "a local Ray"
    return LocalFinding("settings", ok=True, detail=f"SHOAL_HOME {settings.home}, SHOAL_STORE {settings.store}, {where}")


def findings_without_journal() -> Iterator[LocalFinding]:
    """Yield what can be said of the process and its folders when the journal cannot be opened; creates nothing."""
    yield LocalFinding("python", ok=True, detail=f"{platform.python_version()} at {sys.executable}")
    yield LocalFinding("shoal", ok=True, detail=__version__)
    try:
        home = load_settings().home
    except ShoalError:
        return
    yield _home(home)
    yield _space(home)


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
    hint = "the journal, results and environments need room: free some, or set another SHOAL_HOME"
    return LocalFinding("disk", ok=free >= _LEAST_SPACE, detail=f"{bytes_text(free)} free", hint=hint)


def _nearest(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())
