"""A look at the set-up: what is there, what is missing, what to do."""

from __future__ import annotations

import os
import platform as machine
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from shoal.daemon_file import is_held, read_daemon
from shoal.errors import ShoalError
from shoal.ports import RunQuery

if TYPE_CHECKING:
    from shoal.bootstrap import Platform

LOW_DISK: Final = 1024**3
"""Free bytes below which the disk is said to be nearly full."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: None: neither right nor wrong, worth knowing.
        hint: What to do, if it is wrong.
    """

    name: str
    ok: bool | None
    detail: str
    hint: str | None = None


async def diagnose(platform: Platform) -> AsyncIterator[Finding]:
    """Yield findings, one by one."""
    yield Finding("python", sys.version_info >= (3, 11), f"{machine.python_version()} at {sys.executable}", "use 3.11 or newer")
    for package in ("shoal", "ray", "uv"):
        yield _package(package)
    yield _home(platform)
    yield await _journal(platform)
    yield _secrets(platform)
    yield _daemon(platform)
    if platform.settings.ray_address:
        yield _cluster(platform)


def _package(name: str) -> Finding:
    try:
        return Finding(name, ok=True, detail=version(name))
    except PackageNotFoundError:
        return Finding(name, ok=False, detail="not installed", hint=f"install {name} beside shoal")


def _home(platform: Platform) -> Finding:
    home = platform.settings.home
    if not os.access(home, os.W_OK | os.X_OK):
        return Finding("home", ok=False, detail=f"{home} cannot be written", hint="set SHOAL_HOME to a folder of yours")
    free = shutil.disk_usage(home).free
    return Finding("home", free > LOW_DISK, f"{home}, {free / 1024**3:.1f} GiB free", "free some space")


async def _journal(platform: Platform) -> Finding:
    try:
        runs = await platform.store.runs(RunQuery(limit=1000))
    except ShoalError as error:
        return Finding("journal", ok=False, detail=str(error))
    left = sum(1 for run in runs if run.shown_status == "resumable")
    detail = f"{platform.settings.store}, {len(runs)} runs" + (f", {left} resumable" if left else "")
    return Finding("journal", ok=True, detail=detail)


def _secrets(platform: Platform) -> Finding:
    try:
        names = platform.secrets.names()
    except ShoalError as error:
        return Finding("secrets", ok=False, detail=error.message, hint=error.hint)
    return Finding("secrets", ok=None, detail=f"{len(names)} provided")


def _daemon(platform: Platform) -> Finding:
    daemon = read_daemon(platform.settings.home)
    if daemon is None:
        starting = is_held(platform.settings.home)
        return Finding("daemon", ok=None, detail="starting" if starting else "none; `shoal up` starts one")
    if daemon.fingerprint != platform.fingerprint("ray"):
        return Finding(
            "daemon",
            ok=False,
            detail=f"process {daemon.pid} runs in another base environment",
            hint="`shoal down`, then `shoal up`",
        )
    return Finding("daemon", ok=True, detail=f"process {daemon.pid}, Ray at {daemon.ray_address}")


def _cluster(platform: Platform) -> Finding:
    try:
        connection = platform.connect_ray()
    except ShoalError as error:
        return Finding("ray cluster", ok=False, detail=str(error))
    return Finding("ray cluster", ok=True, detail=f"reached at {connection.address}")
