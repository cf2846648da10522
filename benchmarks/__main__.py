"""The command: `python -m benchmarks`. Owns its options and where results are written."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import chart, page, suite, table
from benchmarks.bench import Row
from benchmarks.goals import load_goals
from benchmarks.place import MeasurementError
from benchmarks.result import Result, load, merged, save
from benchmarks.rows import PEERS, ROWS

ROUNDS: Final = 5
RESULTS: Final = Path(__file__).with_name("results")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Shoal and bare Ray side by side.")
    names = [row.name for row in (*ROWS, PEERS)]
    parser.add_argument("--only", action="append", choices=names, metavar="ROW", help=f"repeatable: {', '.join(names)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds of each row, fewer for long ones (5; with --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a look whether it works")
    parser.add_argument("--peers", action="store_true", help="other systems, too")
    parser.add_argument("--keep", action="store_true", help="keep rows of the last result that are not measured now")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="a Ray to use instead of one of its own")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results go (benchmarks/results)")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the last result into docs/performance.md")
    return parser


def _rows(only: Sequence[str] | None, *, peers: bool) -> list[Row]:
    every = (*ROWS, PEERS)
    if only:
        return [row for row in every if row.name in only]
    return [row for row in every if peers or row is not PEERS]


def _chart(result: Result) -> str:
    machine = result.machine
    caption = f"{result.measured_at[:10]}, {machine['cores']} cores, Ray {machine['ray']}, fsync on"
    return chart.svg(result.comparisons(load_goals()), caption + (", small sizes" if result.quick else ""))


def _write_page() -> int:
    file = RESULTS / "latest.json"
    if not file.exists():
        sys.stderr.write("there is no result; `make bench` makes one\n")
        return 2
    result = load(file)
    page.write(result, _chart(result))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write JSON and chart, print the table; 0 if every row that was asked for yielded figures."""
    options = _parser().parse_args(arguments)
    if options.page:
        return _write_page()
    rows = _rows(options.only, peers=options.peers)
    repeat = max(1, options.repeat or (1 if options.quick else ROUNDS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    file = options.out / ("quick.json" if options.quick else "latest.json")
    old = load(file) if options.keep and file.exists() else None
    result: Result | None = None
    try:
        for measured in suite.measure(
            rows, repeat=repeat, quick=options.quick, address=options.ray_address, tell=_tell
        ):  # each row is on disk before the next begins
            result = merged(measured, old)
            save(result, load_goals(), file)
            file.with_suffix(".svg").write_text(_chart(result))
    except MeasurementError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    if result is None:
        return 2
    _print(result)
    return 0 if all(result.rows[row.name].figures for row in rows) else 1


def _print(result: Result) -> None:
    comparisons = [c for c in result.comparisons(load_goals()) if c.goal.row in result.rows]
    if result.quick:
        sys.stdout.write("SMALL SIZES, not those that the lines tell: a look whether the suite works.\n\n")
    sys.stdout.write(f"{table.text(comparisons)}\n{table.circumstances(result)}\n{table.summary(comparisons)}\n")


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
