"""The processes below a process: who they are, what memory they hold, and their end.

Owns the reading of `/proc`, and of `ps` where there is none. What another session or user has made of a process tree
meanwhile is no error: a process that is gone has no memory and no children.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """Return the processes below one, parents before children."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def private_memory(pids: Iterable[int]) -> int:
    """Return the bytes that processes hold for themselves; memory shared with others (Ray's object store) is left out."""
    return sum(_private(pid) for pid in pids)


def kill(pids: Iterable[int]) -> None:
    """End processes at once."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _parents() -> list[tuple[int, int]]:
    if not _PROC.joinpath("self", "stat").exists():
        return [(a, b) for a, b, _ in _ps()]
    found: list[tuple[int, int]] = []
    for name in os.listdir(_PROC):  # noqa: PTH208 - names are enough, and there may be thousands
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    # The command may hold spaces and brackets; the fields follow its last bracket.
                    found.append((int(name), int(file.read().rpartition(b")")[2].split()[1])))
            except (OSError, ValueError, IndexError):
                continue
    return found


def _private(pid: int) -> int:
    if not _PROC.joinpath("self", "stat").exists():
        return next((rss for child, _, rss in _ps() if child == pid), 0)
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123
            fields = file.read().split()
        return max(0, int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _ps() -> list[tuple[int, int, int]]:
    done = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, text=True, check=False, timeout=10)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(int(r[0]), int(r[1]), int(r[2]) * 1024) for r in rows if len(r) == 3]  # noqa: PLR2004 - three columns
