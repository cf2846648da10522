"""The result as an SVG: for each goal, how much of it was reached. Pure; draws by hand, since bars are all it needs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.goals import Comparison
from benchmarks.table import number

TITLE: Final = "How much of each goal is reached"
WIDTH: Final = 1000
LABELS: Final = 520
LINE: Final = 34
TOP: Final = 64
MOST: Final = 2.5
"""Goals reached beyond so many times are drawn as so many."""

_COLORS: Final = {"met": "#2e7d32", "missed": "#c75b12", "not measured": "#9e9e9e"}
_STYLE: Final = "text{font:12px sans-serif;fill:#333}.title{font-size:16px;font-weight:bold}.small{font-size:10px;fill:#666}"


def svg(comparisons: Sequence[Comparison], caption: str) -> str:
    """Return the chart; lines that are for information only are left out."""
    shown = [c for c in comparisons if c.goal.bound != "none"]
    height = TOP + LINE * len(shown) + 24
    goal = LABELS + _length(1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{TITLE}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text class="title" x="12" y="24">{TITLE} (longer is better)</text>',
        f'<text class="small" x="12" y="42">{escape(caption)}</text>',
        f'<line x1="{goal:.1f}" y1="{TOP - 6}" x2="{goal:.1f}" y2="{height - 22}" stroke="#333" stroke-dasharray="4 3"/>',
        f'<text class="small" x="{goal:.1f}" y="{height - 8}" text-anchor="middle">the goal</text>',
    ]
    for i, comparison in enumerate(shown):
        parts += _bar(comparison, TOP + i * LINE)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(comparison: Comparison, y: int) -> list[str]:
    goal = comparison.goal
    color = _COLORS[comparison.verdict]
    against = f"against {goal.against}" if goal.against else goal.group
    lines = [
        f'<text x="12" y="{y + 12}">{escape(_plain(goal.what))}</text>',
        f'<text class="small" x="12" y="{y + 24}">{escape(_plain(against))}</text>',
    ]
    if comparison.value is None or comparison.score is None:
        return [*lines, f'<text class="small" x="{LABELS}" y="{y + 14}" fill="{color}">not measured</text>']
    length = _length(comparison.score)
    told = f"{number(comparison.value.median)} {goal.result} ({goal.wanted})"
    return [
        *lines,
        f'<rect x="{LABELS}" y="{y + 2}" width="{length:.1f}" height="16" rx="2" fill="{color}">',
        f"<title>{escape(comparison.told)}</title></rect>",
        f'<text class="small" x="{LABELS + length + 6:.1f}" y="{y + 14}">{escape(told)}</text>',
    ]


def _length(score: float) -> float:
    return (WIDTH - LABELS - 160) * min(max(score, 0.0), MOST) / MOST


def _plain(words: str) -> str:
    return words.replace("`", "")
