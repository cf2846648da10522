"""What `doctor` can find without the journal: settings, interpreter, folders."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from shoal import __version__
from shoal.cli.spans import bytes_text
from shoal.client import Finding
from shoal.config import load_settings
from shoal.errors import ShoalError

_LEAST_SPACE = 1024**3


def settings_finding() -> Finding:
    """Return whether the settings can be read, and which they are."""
    try:
        settings = load_settings()
    except ShoalError as error:
        return Finding("settings", ok=False, detail=error.message, hint=error.hint)
    where = settings.ray_address or "a local Ray"
    return Finding("settings", ok=True, detail=f"SHOAL_HOME {settings.home}, SHOAL_STORE {settings.store}, {where}")


def findings_without_journal() -> Iterator[Finding]:
    """Yield what can be said of the process and its folders when the journal cannot be opened; creates nothing."""
    yield Finding("python", ok=True, detail=f"{platform.python_version()} at {sys.executable}")
    yield Finding("shoal", ok=True, detail=__version__)
    try:
        home = load_settings().home
    except ShoalError:
        return
    yield _home(home)
    yield _space(home)


def _home(home: Path) -> Finding:
    standing = _nearest(home)
    if home.exists() and not home.is_dir():
        return Finding("home", ok=False, detail=f"{home} is no folder", hint="set SHOAL_HOME to a folder")
    if not os.access(standing, os.W_OK | os.X_OK):
        return Finding("home", ok=False, detail=f"{standing} cannot be written", hint="set SHOAL_HOME to a folder of yours")
    return Finding("home", ok=True, detail=f"{home} " + ("is writable" if home.exists() else "will be made"))


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    hint = "the journal, results and environments need room: free some, or set another SHOAL_HOME"
    return Finding("disk", ok=free >= _LEAST_SPACE, detail=f"{bytes_text(free)} free", hint=hint)


def _nearest(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())
