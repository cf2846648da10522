"""What the figures were measured on. Names no host and no folder."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.place import MeasurementError

_TIMES: Final = 200
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})


def describe(folder: Path) -> dict[str, str | int | float]:
    """Return cores, memory, versions, and the disk of a folder with the time that its own fsync takes.

    Raises:
        MeasurementError: The folder is in memory, where a sync means nothing.
    """
    kind = filesystem(folder)
    if kind in _VOLATILE:
        raise MeasurementError(f"the work folder is on {kind}, where a sync costs nothing; measure on a disk")
    return {
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "ray": version("ray"),
        "shoal": version("shoal"),
        "filesystem": kind,
        "fsync_ms": round(fsync_ms(folder), 3),
    }


def filesystem(folder: Path, mounts: str | None = None) -> str:
    """Return the kind of file system that a folder is on; `unknown` where the system does not tell.

    Args:
        folder: An existing folder.
        mounts: The text of `/proc/mounts`; None: this system's.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text()
        except OSError:
            return "unknown"
    found, longest = "unknown", -1
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= longest:
            found, longest = kind, len(point)
    return found


def fsync_ms(folder: Path) -> float:
    """Return the median milliseconds of appending 4 KiB to a file and syncing it."""
    file = folder / "fsync"
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    times: list[float] = []
    try:
        for _ in range(_TIMES):
            begun = time.perf_counter()
            os.write(handle, b"x" * 4096)
            os.fsync(handle)
            times.append(time.perf_counter() - begun)
    finally:
        os.close(handle)
        file.unlink()
    return statistics.median(times) * 1e3
