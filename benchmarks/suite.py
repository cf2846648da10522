"""One run of the suite: rows one after the other, in each all sides round by round. A row that fails leaves the others be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from benchmarks import machine
from benchmarks.bench import Bench, Figures, Row
from benchmarks.cluster import LocalRay
from benchmarks.place import MeasurementError, Place
from benchmarks.probes.answering import Stopwatch
from benchmarks.result import Result, RowResult
from benchmarks.sizes import FULL, QUICK


def measure(
    rows: Sequence[Row], *, repeat: int, quick: bool, address: str | None, tell: Callable[[str], None]
) -> Iterator[Result]:
    """Measure rows and yield what came of them so far after each; stops what it started, also when it is interrupted.

    Args:
        rows: In this order.
        repeat: Rounds of each row; fewer for long ones.
        quick: Whether the sizes are small.
        address: Of a Ray that others keep; None: one of our own.
        tell: Takes lines about how it goes.

    Raises:
        MeasurementError: The work folder is not on a disk.
    """
    sizes = QUICK if quick else FULL
    folder = Place()
    ray = LocalRay(address)
    try:
        described = machine.describe(folder.folder)
        bench = Bench(sizes, ray, folder, tell)
        measured: dict[str, RowResult] = {}
        for row in rows:
            measured[row.name] = _row(bench, row, min(repeat, sizes.rounds) if row.long else repeat)
            yield Result(_now(), quick, repeat, described, asdict(sizes), dict(measured))
    finally:
        ray.stop()
        folder.close()


def _row(bench: Bench, row: Row, rounds: int) -> RowResult:
    bench = replace(bench, absent={})
    bench.tell(f"{row.name}: {row.about}")
    watch = Stopwatch()
    done: list[Figures] = []
    trouble = ""
    try:
        with row.session(bench) as one:
            for number in range(rounds):
                try:
                    done.append(one(number))
                except MeasurementError as error:
                    done.append({})
                    trouble = str(error)
                    bench.tell(f"  round {number + 1}: {error}")
                else:
                    bench.tell(f"  round {number + 1} of {rounds}: {_shown(done[-1])}")
    except (MeasurementError, OSError) as error:
        trouble = str(error)
        bench.tell(f"  {error}")
    return RowResult(_now(), round(watch.seconds, 1), aligned(done), trouble, bench.absent)


def aligned(rounds: Sequence[Figures]) -> dict[str, list[float | None]]:
    """Return the samples of each figure, one a round, None where a round does not have it."""
    names = {name: None for figures in rounds for name in figures}
    return {name: [figures.get(name) for figures in rounds] for name in names}


def _shown(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(figures.items()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
