"""Where a measurement works: fresh homes on a real disk, and the probes as child processes that never outlive it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
WORK: Final = Path(__file__).with_name(".work")
TIMEOUT: Final = 1_800.0
"""Seconds that one measurement may take."""


class MeasurementError(Exception):
    """A measurement could not be made; the message says why."""


class Place:
    """Folders and processes of one run of the suite; `close` removes the folders."""

    def __init__(self) -> None:
        WORK.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
        self._count = 0

    def home(self) -> Path:
        """Return a fresh folder."""
        self._count += 1
        home = self.folder / f"home-{self._count}"
        home.mkdir()
        return home

    def close(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def environment(**more: str) -> dict[str, str]:
    """Return this process's variables without any `SHOAL_*` or `RAY_*` of the user's, and some more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHOAL_", "RAY_"))}
    # The work folder is git-ignored, and modules that git ignores are not sent to workers: hide the repository from it.
    told = {"PYTHONPATH": str(ROOT), "GIT_CEILING_DIRECTORIES": str(WORK), "NO_COLOR": "1", "SHOAL_LOG_LEVEL": "error"}
    return {**kept, **told, **more}


def probe(module: str, measure: str, *, variables: Mapping[str, str] | None = None, **question: object) -> dict[str, float]:
    """Carry out one measurement in a process of its own and return its figures.

    Raises:
        MeasurementError: It failed; with the last of what it wrote.
    """
    line = [sys.executable, "-m", f"benchmarks.probes.{module}", json.dumps({"measure": measure, **question})]
    return last_object(run(line, environment(**(variables or {}))))


def run(line: Sequence[str], variables: Mapping[str, str], *, cwd: Path = ROOT, timeout: float = TIMEOUT) -> str:
    """Run a command to its end and return what it wrote to stdout.

    Its process group is ended if it takes too long or this process is interrupted.

    Raises:
        MeasurementError: It failed or took too long.
    """
    process = subprocess.Popen(
        line,
        cwd=cwd,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"{_name(line)} took more than {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        told = [text.strip() for text in (err or out).splitlines() if text.strip()]
        raise MeasurementError(f"{_name(line)} ended with {process.returncode}: {' / '.join(told[-2:])}")
    return out


def last_object(out: str) -> dict[str, Any]:
    """Return the JSON object that stands in the last line of an output."""
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise MeasurementError(f"no figures in what was printed: {out[-200:]!r}") from None


def _name(line: Sequence[str]) -> str:
    return " ".join(Path(word).name for word in line[:4] if not word.startswith("{"))
