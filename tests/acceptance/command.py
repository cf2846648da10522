"""The command line as a process of its own, on the session's Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Command:
    """Runs `shoal` with a home and a Ray of its tests."""

    def __init__(self, home: Path, ray_address: str | None, **variables: str) -> None:
        self.environment = {**os.environ, "SHOAL_HOME": str(home), "NO_COLOR": "1", **variables}
        if ray_address is not None:
            self.environment["SHOAL_RAY_ADDRESS"] = ray_address
        self.home = home
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *args: object, cwd: Path | None = None) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "shoal", *map(str, args)]
        process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=cwd,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what a test left behind, so that it holds no CPU of the session's Ray."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def __call__(self, *args: object, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        process = self.start(*args, cwd=cwd)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"shoal {args} did not end: {out}{err}") from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *args: object) -> dict:
        done = self(*args, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


def wait_until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Return once a condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
