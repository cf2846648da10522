"""The live tree of a run on a terminal.

Owns what a person sees while a run goes on. Renders from a view alone, so that it can be tested without a terminal; draws at
most eight times a second and not more often than the view changes or a second passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from shoal.cli.api import RunView
from shoal.cli.rows import Row, rows_of, select
from shoal.cli.spans import took_text
from shoal.cli.terminal import Glyphs, glyphs_for

REFRESH_EVERY = 1 / 8
TICK_EVERY = 1.0
_BAR = 20
_NARROW = 60
_STYLES = {
    "pending": "dim",
    "running": "cyan",
    "waiting": "yellow",
    "retrying": "yellow",
    "resumable": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "skipped": "dim",
    "canceled": "magenta",
}


class LiveTree:
    """Draws the tree of a run in place."""

    def __init__(self, console: Console, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._console = console
        self._now = now
        self._glyphs = glyphs_for(console.file)  # pyright: ignore[reportArgumentType]
        self._view: RunView | None = None
        self._drawn = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # stdout is left alone: results must not be caught by the display.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, transient=False)
        self._ticker = threading.Thread(target=self._tick, name="shoal-tree", daemon=True)

    def __enter__(self) -> LiveTree:
        """Begin to draw."""
        self._live.start()
        self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Draw the last view and leave it on the screen."""
        self._stop.set()
        self._ticker.join(timeout=1)
        self._draw(final=True)
        self._live.stop()

    def update(self, view: RunView) -> None:
        """Show a newer view."""
        self._view = view
        if time.monotonic() - self._drawn >= REFRESH_EVERY:
            self._draw()

    def _tick(self) -> None:
        # Elapsed times and countdowns go on while nothing changes, and while the loop is busy.
        while not self._stop.wait(REFRESH_EVERY):
            if time.monotonic() - self._drawn >= TICK_EVERY:
                self._draw()

    def _draw(self, *, final: bool = False) -> None:
        view = self._view
        if view is None:
            return
        with self._lock:
            size = self._console.size
            height = None if final else max(size.height - 1, 4)
            self._live.update(render(view, self._now(), size.width, height, self._glyphs), refresh=True)
            self._drawn = time.monotonic()


def render(view: RunView, now: datetime, width: int, height: int | None, glyphs: Glyphs) -> Group:
    """Return the tree as lines that fit a width and a height.

    Args:
        view: The run.
        now: What elapsed times and countdowns are counted to.
        width: Columns.
        height: Lines at most; None: as many as a last look may take (40).
        glyphs: The signs to draw with.
    """
    rows = rows_of(view, now)
    shown, hidden = select(rows, (height or 40) - 2)
    name_width = min(max((len(row.name) + row.indent * 2 for row in shown), default=0), max(width // 3, 12))
    lines = [_header(view, now, width), *(_row(row, name_width, width, glyphs) for row in shown)]
    if hidden:
        lines.append(_fitted(Text(f"  {glyphs.dots} {hidden}", style="dim"), width))
    return Group(*lines)


def _header(view: RunView, now: datetime, width: int) -> Text:
    run = view.run
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(view.workflow.name or run.workflow_id, style="bold")
    text.append(f"  {run.id}  ", style="dim")
    text.append(run.shown_status, style=_STYLES.get(run.shown_status, ""))
    span = took_text(run.started_at or run.created_at, run.finished_at, now)
    text.append(f"  {span}", style="dim")
    return _fitted(text, width)


def _row(row: Row, name_width: int, width: int, glyphs: Glyphs) -> Text:
    style = _STYLES.get(row.state, "")
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("  " * row.indent)
    glyph = glyphs.branch if row.state == "detail" else getattr(glyphs, row.glyph)
    text.append(f"{glyph} ", style="red" if row.state == "detail" else style)
    if row.state == "detail":
        text.append(row.name, style="red")
        return _fitted(text, width)
    space = max(name_width - row.indent * 2, 4)
    name = row.name if len(row.name) <= space else row.name[: space - len(glyphs.dots)] + glyphs.dots
    text.append(name.ljust(space))
    text.append(f"  {row.state:<9}", style=style)
    text.append(f" {row.time:>6}", style="dim")
    if row.share is not None and width >= _NARROW:
        filled = round(min(max(row.share, 0.0), 1.0) * _BAR)
        text.append("  ")
        text.append(glyphs.bar * filled, style="cyan")
        text.append(glyphs.rest * (_BAR - filled), style="dim")
    for remark in row.remarks:
        text.append(f"  {remark}", style="red" if remark.endswith("failed") else "dim")
    return _fitted(text, width)


def _fitted(text: Text, width: int) -> Text:
    # Text measured in cells: wide characters count twice.
    text.truncate(width, overflow="ellipsis" if width > 1 else "crop")
    return text
