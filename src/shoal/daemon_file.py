"""The file by which a daemon of a home is known, and the lock that says it lives.

Owns `daemon.json` and `daemon.lock` in the home. The lock is held for the daemon's life: whoever can take it knows that
there is none, whatever the file says. The file is readable and writable by the owner only.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from shoal.errors import ConflictError


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """A live daemon.

    Attributes:
        pid: Its process id.
        fingerprint: Under which it drives runs.
        started_at: ISO 8601, UTC.
        ray_address: Of its Ray.
        store: URL of the journal whose runs it drives.
    """

    pid: int
    fingerprint: str
    started_at: str
    ray_address: str
    store: str


def read_daemon(home: Path) -> DaemonInfo | None:
    """Return the live daemon of a home that is ready; None if there is none."""
    if not is_held(home):
        return None
    try:
        data = json.loads((home / "daemon.json").read_text())
        return DaemonInfo(**data)
    except (OSError, ValueError, TypeError):
        return None  # it is starting, or ending


def is_held(home: Path) -> bool:
    """Return whether a process holds the daemon's lock of a home."""
    try:
        handle = os.open(home / "daemon.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def hold(home: Path) -> Generator[None]:
    """Be the daemon of a home for the time of the context.

    Raises:
        ConflictError: There is one.
    """
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(f"a daemon runs for {home} already", hint="`shoal down` stops it") from error
        (home / "daemon.json").unlink(missing_ok=True)
        try:
            yield
        finally:
            (home / "daemon.json").unlink(missing_ok=True)
    finally:
        os.close(handle)


def announce(home: Path, info: DaemonInfo) -> None:
    """Tell that the daemon is ready; to be called while it holds its home."""
    partial = home / "daemon.json.new"
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(asdict(info)))
    partial.replace(home / "daemon.json")
