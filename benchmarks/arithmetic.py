"""The arithmetic of rounds: medians, spreads, and values of pairs that were measured in the same round. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

Samples = Sequence[float | None]
"""One figure, round by round; None where a round did not yield it."""

Formula = Literal["ours/theirs", "theirs/ours", "ours-theirs", "ours"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values and their extremes."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return the spread of the values that are there; None if there are none."""
    there = [value for value in values if value is not None]
    return Spread(statistics.median(there), min(there), max(there), len(there)) if there else None


def paired(ours: Samples, theirs: Samples, formula: Formula) -> list[float]:
    """Return the formula's value for each round; a round that lacks a side, or would divide by zero, is left out.

    Ratios are formed within a round and only then summarized: what disturbs a machine for minutes disturbs both sides.
    """
    if formula == "ours":
        return [value for value in ours if value is not None]
    values: list[float] = []
    for a, b in zip(ours, theirs, strict=False):
        if a is None or b is None:
            continue
        match formula:
            case "ours/theirs":
                if b != 0:
                    values.append(a / b)
            case "theirs/ours":
                if a != 0:
                    values.append(b / a)
            case "ours-theirs":
                values.append(a - b)
            case _:
                assert_never(formula)
    return values
