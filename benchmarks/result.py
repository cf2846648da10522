"""The result of the suite, and its JSON form. Owns the format of `results/*.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.arithmetic import Samples, spread
from benchmarks.goals import Comparison, Goal, compare

SCHEMA: Final = 1
FSYNC: Final = "on: every figure of Shoal's is of a journal in SQLite with synchronous=FULL on a disk"


@dataclass(frozen=True, slots=True)
class RowResult:
    """What came of one row of the suite.

    Attributes:
        measured_at: When its last round ended; ISO 8601, UTC.
        seconds: How long it took.
        figures: Samples by name without the row's, round by round; None where a round failed.
        trouble: What went wrong; empty if nothing did.
        absent: Why a side could not be measured, by its name.
    """

    measured_at: str
    seconds: float
    figures: dict[str, list[float | None]] = field(default_factory=dict[str, list[float | None]])
    trouble: str = ""
    absent: dict[str, str] = field(default_factory=dict[str, str])

    def reason(self, figure: str) -> str:
        """Return why a figure (`row.side...`) is missing, if it is known."""
        sides = figure.split(".")
        return next((why for side, why in self.absent.items() if side in sides), self.trouble)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run of the suite.

    Attributes:
        measured_at: ISO 8601, UTC.
        quick: Whether the sizes were small; such figures say nothing about the goals.
        machine: See `benchmarks.machine.describe`.
        sizes: How much was measured.
        rows: By name.
    """

    measured_at: str
    quick: bool
    repeat: int
    machine: Mapping[str, str | int | float]
    sizes: Mapping[str, float]
    rows: Mapping[str, RowResult]

    @property
    def figures(self) -> dict[str, Samples]:
        """Return all samples by their full names, `row.figure`."""
        return {f"{row}.{name}": samples for row, told in self.rows.items() for name, samples in told.figures.items()}

    def comparisons(self, goals: Sequence[Goal]) -> list[Comparison]:
        """Hold the figures against goals, in their order."""
        figures = self.figures
        reasons = [self.rows[goal.row].reason(goal.theirs) if goal.row in self.rows else "" for goal in goals]
        return [compare(goal, figures, reason) for goal, reason in zip(goals, reasons, strict=True)]


def to_json(result: Result, goals: Sequence[Goal]) -> dict[str, Any]:
    """Return the JSON form: the samples, and for people what follows from them."""
    data = asdict(result)
    data |= {"schema": SCHEMA, "fsync": FSYNC}
    data["summary"] = {name: asdict(s) for name, samples in result.figures.items() if (s := spread(samples)) is not None}
    data["comparisons"] = [
        {
            "goal": c.goal.id,
            "what": c.goal.what,
            "against": c.goal.against,
            "value": c.value.median if c.value else None,
            "low": c.value.low if c.value else None,
            "high": c.value.high if c.value else None,
            "unit": c.goal.result,
            "wanted": c.goal.wanted,
            "verdict": c.verdict,
            "told": c.told,
        }
        for c in result.comparisons(goals)
    ]
    return data


def save(result: Result, goals: Sequence[Goal], file: Path) -> None:
    """Write a result to a file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(to_json(result, goals), indent=1) + "\n")
    partial.replace(file)


def load(file: Path) -> Result:
    """Read a result; what follows from the samples is worked out anew.

    Raises:
        ValueError: The file is of another schema.
    """
    data = json.loads(file.read_text())
    if data["schema"] != SCHEMA:
        raise ValueError(f"{file.name} is of schema {data['schema']}, not {SCHEMA}")
    rows = {name: RowResult(**row) for name, row in data["rows"].items()}
    return Result(data["measured_at"], data["quick"], data["repeat"], data["machine"], data["sizes"], rows)


def merged(new: Result, old: Result | None) -> Result:
    """Return a result with the rows of an older one that the new one did not measure.

    Rows of another machine, other versions or other sizes are not kept: they could not be compared.
    """
    if old is None or _kind(old) != _kind(new):
        return new
    return Result(new.measured_at, new.quick, new.repeat, new.machine, new.sizes, {**old.rows, **new.rows})


def _kind(result: Result) -> tuple[object, ...]:
    machine = {name: value for name, value in result.machine.items() if name != "fsync_ms"}
    return (result.quick, machine, result.sizes)
