"""The generated part of docs/performance.md. Owns what stands between the markers, and the chart beside the page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.goals import load_goals
from benchmarks.place import ROOT
from benchmarks.result import Result
from benchmarks.table import circumstances, markdown, summary

PAGE: Final = ROOT / "docs" / "performance.md"
CHART: Final = ROOT / "docs" / "performance.svg"
BEGIN: Final = "<!-- benchmarks: begin; written by `make bench-page` -->"
END: Final = "<!-- benchmarks: end -->"


def replaced(page: str, body: str) -> str:
    """Return a page with another generated part.

    Raises:
        ValueError: The page has no markers, or they stand the wrong way round.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no generated part: its markers are missing")
    return f"{before}{BEGIN}\n\n{body.strip()}\n\n{END}{after}"


def body(result: Result) -> str:
    """Return the generated part for a result."""
    comparisons = result.comparisons(load_goals())
    chart = f"![How much of each goal is reached]({CHART.name})"
    return f"{circumstances(result)}\n\n{summary(comparisons).capitalize()}.\n\n{markdown(comparisons)}\n{chart}\n"


def write(result: Result, chart: str, page: Path = PAGE, picture: Path = CHART) -> None:
    """Write the result into the page, and the chart beside it."""
    page.write_text(replaced(page.read_text(), body(result)))
    picture.write_text(chart)
