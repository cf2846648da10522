"""The result as a table, for a terminal and for a page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.arithmetic import Spread
from benchmarks.goals import Comparison
from benchmarks.result import FSYNC, Result

HEAD = ("what", "Shoal", "against", "there", "value (min to max)", "goal", "verdict")


def number(value: float) -> str:
    """Return a number as people read it: three digits that count, thousands apart."""
    if abs(value) >= 1000:  # noqa: PLR2004 - thousands
        return f"{value:,.0f}"
    return f"{value:.3g}"


def cells(comparison: Comparison) -> tuple[str, ...]:
    """Return the cells of one line."""
    goal = comparison.goal
    return (
        goal.what,
        _measured(comparison.ours, goal.unit),
        goal.against or "-",
        _measured(comparison.theirs, goal.unit) if goal.theirs else "-",
        _ranged(comparison.value),
        goal.wanted,
        comparison.told,
    )


def text(comparisons: Sequence[Comparison]) -> str:
    """Return a table for a terminal, a heading for each row of the performance table."""
    lines: list[str] = []
    group = ""
    for comparison in comparisons:
        if comparison.goal.group != group:
            group = comparison.goal.group
            lines += ["", group]
        what, ours, against, theirs, value, wanted, told = cells(comparison)
        lines.append(f"  {what}: {ours}" + (f"; {against}: {theirs}" if comparison.goal.against else ""))
        lines.append(f"    {value}, goal {wanted}: {told}" if comparison.value else f"    {told}")
    return "\n".join(lines).strip() + "\n"


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the same table for a page."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    for comparison in comparisons:
        written = list(cells(comparison))
        if comparison.verdict in {"met", "missed"}:
            written[-1] = f"**{comparison.verdict}**{comparison.told.removeprefix(comparison.verdict)}"
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in written) + " |")
    return "\n".join(lines) + "\n"


def circumstances(result: Result) -> str:
    """Return a paragraph about where and how the figures came to be."""
    machine = result.machine
    rounds = f"Medians of up to {result.repeat} rounds" if result.repeat > 1 else "One round of each row, so there is no spread"
    told = (
        f"Measured {result.measured_at[:16].replace('T', ' ')} UTC on {machine['cores']} cores and "
        f"{machine['memory_gib']} GiB of memory ({machine['system']}), Python {machine['python']}, Ray {machine['ray']}, "
        f"Shoal {machine['shoal']}; the disk ({machine['filesystem']}) takes {machine['fsync_ms']} ms for an append of 4 KiB "
        f"and its fsync. The fsync is {FSYNC}. {rounds}."
    )
    if result.quick:
        told += " **Small sizes: a look whether the suite works, which says nothing about the goals.**"
    return told


def summary(comparisons: Sequence[Comparison]) -> str:
    """Return how many goals are met, missed and not measured."""
    counts = {v: sum(c.verdict == v for c in comparisons) for v in ("met", "missed", "not measured")}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def _measured(value: Spread | None, unit: str) -> str:
    return f"{number(value.median)} {unit}" if value else "-"


def _ranged(value: Spread | None) -> str:
    if value is None:
        return "-"
    return f"{number(value.median)} ({number(value.low)} to {number(value.high)})"
