"""Wall time of the `shoal` command for a workflow of one step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import flows, place
from benchmarks.bench import Bench, Figures, Round, Row
from benchmarks.probes.answering import Stopwatch


def _shoal(home: Path, *arguments: str, **variables: str) -> float:
    line = [sys.executable, "-m", "shoal", *arguments]
    watch = Stopwatch()
    place.run(line, place.environment(SHOAL_HOME=str(home), **variables), cwd=home)
    return watch.seconds


@contextmanager
def session(bench: Bench) -> Iterator[Round]:
    """Keep a daemon of a fresh home on the shared Ray; yield what measures both commands, in seconds."""
    home = bench.place.home()
    file = str(flows.write(home / "flows", "one", flows.one()))
    address = {"SHOAL_RAY_ADDRESS": bench.ray.address}
    try:
        _shoal(home, "up", **address)
        _shoal(home, "run", file, **address)
        _shoal(home, "run", file, "--executor", "inline")

        def measure(_: int) -> Figures:
            up = _shoal(home, "run", file, **address)
            inline = _shoal(home, "run", file, "--executor", "inline")
            return {"up": up, "inline": inline}

        yield measure
    finally:
        _shoal(home, "down")


COMMAND: Final = Row("command", "wall time of `shoal run`", session)
