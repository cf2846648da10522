"""The process behind `shoal up`: a local Ray and an orchestrator that drives the runs of a home in the background.

Owns its life: start, idle limit, orderly stop. Run as `python -m shoal.daemon`. It listens on nothing: commands reach it
through the journal, so whoever may write the journal (the owner of the home) may command it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import Final

import structlog

from shoal.bootstrap import Platform, open_platform
from shoal.config import Settings, environment, load_settings
from shoal.daemon_file import DaemonInfo, announce, hold, is_held, read_daemon
from shoal.errors import ConflictError, InvalidInputError, RayUnavailableError, ShoalError
from shoal.language.durations import parse_duration
from shoal.runtime.orchestrator import Orchestrator
from shoal.secrets import LocalSecrets

START_TIMEOUT: Final = 90.0
"""Seconds within which a daemon must be ready; Ray alone takes 7 to 13."""

STOP_TIMEOUT: Final = 30.0
"""Seconds within which a daemon must have stopped."""

_LOOK: Final = 1.0
_RETENTION_INTERVAL: Final = 3600.0

_log = structlog.get_logger("shoal.daemon")


def up(settings: Settings) -> DaemonInfo:
    """Return the daemon of a home, started if there is none; it is ready to drive.

    Raises:
        RayUnavailableError: It did not become ready; its log says why.
    """
    daemon = read_daemon(settings.home)
    if daemon is None and not is_held(settings.home):
        _spawn(settings)
    deadline = time.monotonic() + START_TIMEOUT
    while daemon is None and time.monotonic() < deadline:
        time.sleep(0.1)
        daemon = read_daemon(settings.home)
        if daemon is None and time.monotonic() > deadline - START_TIMEOUT + 3 and not is_held(settings.home):
            break
    if daemon is None:
        log = settings.home / "daemon.log"
        raise RayUnavailableError(f"the daemon did not become ready; its log: {log}", hint="`shoal doctor` looks for the cause")
    return daemon


def _spawn(settings: Settings) -> None:
    """Start the daemon's process; a file of secrets that it could not use is refused here."""
    settings.home.mkdir(parents=True, exist_ok=True)
    variables = {
        **environment(),
        "SHOAL_HOME": str(settings.home),
        "SHOAL_STORE": settings.store,
        "SHOAL_BLOBS": settings.blobs,
    }
    if settings.secrets_file is not None:
        variables["SHOAL_SECRETS_FILE"] = str(settings.secrets_file)  # it may be relative to where this process stands
    LocalSecrets(variables, settings.secrets_file).names()
    handle = os.open(settings.home / "daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        subprocess.Popen(
            [sys.executable, "-m", "shoal.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            env=variables,
            cwd=settings.home,
        )
    finally:
        os.close(handle)


def down(settings: Settings) -> bool:
    """Stop the daemon of a home in order, and its Ray; return whether there was one.

    Raises:
        ConflictError: It did not stop in time.
    """
    daemon = read_daemon(settings.home)
    if daemon is None:
        return False
    os.kill(daemon.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while is_held(settings.home):
        if time.monotonic() > deadline:
            raise ConflictError(f"the daemon (process {daemon.pid}) did not stop within {STOP_TIMEOUT:.0f} s")
        time.sleep(0.05)
    return True


async def _serve(platform: Platform) -> None:
    settings = platform.settings
    stop = asyncio.Event()
    address = platform.connect_ray().address
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray, which sets handlers of its own
        loop.add_signal_handler(number, stop.set)
    orchestrator = platform.orchestrator("ray", takes_over=True)
    await orchestrator.start()
    try:
        now = platform.clock.now().isoformat()
        info = DaemonInfo(os.getpid(), platform.fingerprint("ray"), now, address, settings.store)
        announce(settings.home, info)
        _log.info("ready", home=str(settings.home), pid=info.pid)
        await _until_stopped(platform, orchestrator, stop)
    finally:
        await orchestrator.close(park=False)


async def _until_stopped(platform: Platform, orchestrator: Orchestrator, stop: asyncio.Event) -> None:
    """Return when told to stop, when idle for too long, or when the orchestrator gave up."""
    limit = platform.settings.idle_minutes * 60
    retain = _retention(platform.settings)
    busy_at = pruned_at = platform.clock.monotonic()
    while not stop.is_set():
        if orchestrator.failure is not None:
            raise orchestrator.failure
        now = platform.clock.monotonic()
        if orchestrator.driving:
            busy_at = now
        if now - busy_at > limit:
            _log.info("idle; ending", minutes=platform.settings.idle_minutes)
            return
        if retain is not None and now - pruned_at > _RETENTION_INTERVAL:
            pruned_at = now
            await _prune(platform, retain)
        try:
            await asyncio.wait_for(stop.wait(), _LOOK)
        except TimeoutError:
            continue


def _retention(settings: Settings) -> timedelta | None:
    if not settings.retain:
        return None
    try:
        return parse_duration(settings.retain)
    except ValueError as error:
        raise InvalidInputError(f"SHOAL_RETAIN: {error}") from error


async def _prune(platform: Platform, older_than: timedelta) -> None:
    """Delete old runs; what goes wrong with that is tried again in an hour."""
    try:
        await platform.prune(older_than=older_than)
    except ShoalError as error:
        _log.warning("old runs could not be deleted", error=str(error))


def main() -> int:
    """Be the daemon of the home that the settings name, until told to stop."""
    settings = load_settings()
    try:
        with hold(settings.home):
            platform = open_platform(settings)
            try:
                asyncio.run(_serve(platform))
            finally:
                platform.close()
    except ShoalError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
