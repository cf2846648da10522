"""The registry of crash points: named places at every durability boundary where a test may end the process.

Owns the names. Outside of tests every call is a no-op that costs one comparison with None. A child process of a test arms
a point through the variable `SHOAL_FAULT`, `NAME[:HIT[:exit|kill]]`, which `arm_from` reads once at its start.
"""

from __future__ import annotations

import os
import signal
from typing import Final

POINTS: Final = frozenset(
    {
        "create.before_commit",
        "create.after_commit",
        "claim.after",
        "commit.before",
        "commit.inside",
        "commit.after",
        "dispatch.after",
        "cancel.recorded",
        "end.before_commit",
        "release.before",
        "blob.before_rename",
        "blob.after_rename",
        "build.before_rename",
    }
)
"""Every crash point there is; the fault tier of the tests goes through all of them."""

_armed: str | None = None
_hits_left: int = 0
_mode: str = "exit"


def crash_point(name: str) -> None:
    """End the process here if a test armed this point; otherwise do nothing."""
    if _armed is None or _armed != name:
        return
    global _hits_left  # noqa: PLW0603 - the registry is process-wide by nature
    _hits_left -= 1
    if _hits_left > 0:
        return
    if _mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(86)


def arm(name: str, *, hit: int = 1, mode: str = "exit") -> None:
    """Arm one point: the process ends at its `hit`-th passing, by `os._exit(86)` or, with mode `kill`, by SIGKILL."""
    global _armed, _hits_left, _mode
    if name not in POINTS:
        raise ValueError(f"no crash point is called {name!r}")
    _armed, _hits_left, _mode = name, hit, mode


def disarm() -> None:
    """Disarm whatever is armed."""
    global _armed  # noqa: PLW0603
    _armed = None


def arm_from(setting: str | None) -> None:
    """Arm the point that a setting of the form `NAME[:HIT[:MODE]]` names; nothing if it is empty."""
    if not setting:
        return
    name, _, rest = setting.partition(":")
    hit, _, mode = rest.partition(":")
    arm(name, hit=int(hit or 1), mode=mode or "exit")
