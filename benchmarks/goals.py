"""The goals of `goals.toml` and how far figures are from them. Owns the comparison; measures nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.arithmetic import Formula, Samples, Spread, paired, spread

FILE: Final = Path(__file__).with_name("goals.toml")

Verdict = Literal["met", "missed", "for information", "not measured"]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table.

    Attributes:
        id: Stable name.
        group: The row of the performance table that it belongs to.
        row: The row of the suite that measures it.
        what: In words.
        ours: Name of Shoal's figure.
        theirs: Name of the other figure; empty if the goal is about Shoal alone.
        against: The other side, in words.
        formula: What is compared with the limit, formed round by round.
        bound: On which side of the limit is good; `none`: for information.
        limit: The goal.
        unit: Of both figures.
        result: Unit of the formula's value; `times` for ratios.
    """

    id: str
    group: str
    row: str
    what: str
    ours: str
    formula: Formula
    bound: Literal["at most", "at least", "none"]
    unit: str
    theirs: str = ""
    against: str = ""
    limit: float = 0.0
    result: str = "times"

    @property
    def wanted(self) -> str:
        """Return the goal in words."""
        if self.bound == "none":
            return "-"
        return f"{self.bound} {self.limit:g} {self.result}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A goal and what was measured.

    Attributes:
        ours: Spread of Shoal's figure.
        theirs: Spread of the other figure.
        value: Spread of the formula's value over the rounds; the median decides.
        verdict: `missed` if the median is on the wrong side of the limit.
        score: How much of the goal was reached: 1 is the goal, 2 is twice as good, 0.5 is half of it.
        reason: Why it was not measured.
    """

    goal: Goal
    verdict: Verdict
    ours: Spread | None = None
    theirs: Spread | None = None
    value: Spread | None = None
    score: float | None = None
    reason: str = ""

    @property
    def told(self) -> str:
        """Return the verdict, and by how much the median is off, in words."""
        if self.verdict == "not measured":
            return f"not measured: {self.reason}"
        if self.value is None or self.score is None:
            return self.verdict
        off = abs(self.value.median - self.goal.limit) / self.goal.limit
        return f"{self.verdict} by {off:.0%}"


def load_goals(file: Path = FILE) -> tuple[Goal, ...]:
    """Return the goals in the order of the file."""
    entries: list[dict[str, Any]] = tomllib.loads(file.read_text())["goal"]
    return tuple(Goal(**entry) for entry in entries)


def compare(goal: Goal, figures: Mapping[str, Samples], reason: str = "") -> Comparison:
    """Hold figures against a goal.

    Args:
        goal: The goal.
        figures: Samples by name, round by round.
        reason: Why figures are missing, if they are.
    """
    ours = figures.get(goal.ours, ())
    theirs = figures.get(goal.theirs, ())
    value = spread(paired(ours, theirs, goal.formula))
    told = {"ours": spread(ours), "theirs": spread(theirs)}
    if value is None:
        return Comparison(goal, "not measured", **told, reason=reason or "not asked for")
    if goal.bound == "none":
        return Comparison(goal, "for information", **told, value=value)
    good = value.median <= goal.limit if goal.bound == "at most" else value.median >= goal.limit
    return Comparison(goal, "met" if good else "missed", **told, value=value, score=score(goal, value.median))


def score(goal: Goal, value: float) -> float:
    """Return how much of the goal a value reaches; a value of nothing where little is wanted counts ten times the goal."""
    if goal.bound == "at least":
        return value / goal.limit
    return goal.limit / value if value > goal.limit / 10 else 10.0
