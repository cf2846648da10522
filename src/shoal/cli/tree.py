"""The live tree of a run on a terminal.

Owns what a person sees while a run goes on. Renders from a view alone, so that it can be tested without a terminal; draws at
most eight times a second and not more often than the view changes or a second passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from shoal.cli.rows import DETAIL, Row, rows_of, select
from shoal.cli.spans import duration_text, took_text
from shoal.cli.terminal import Glyphs, glyphs_for, plain

if TYPE_CHECKING:
    from shoal.client import RunView

REFRESH_EVERY = 1 / 8
TICK_EVERY = 1.0
_BAR = 20
_NARROW = 60
_LAST_LOOK = 40
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
        self._began = self._drawn = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # stdout is left alone: results must not be caught by the display.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, transient=False)
        self._ticker = threading.Thread(target=self._tick, name="shoal-tree", daemon=True)

    def __enter__(self) -> LiveTree:
        """Begin to draw; until there is a view, that the run is starting."""
        self._began = time.monotonic()
        self._live.start()
        self._draw()
        self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Draw the last view and leave it on the screen."""
        self._stop.set()
        self._ticker.join(timeout=1)
        if self._view is None:
            self._live.transient = True
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
        with self._lock:
            size = self._console.size
            height = None if final else max(size.height - 1, 4)
            if self._view is None:
                span = duration_text(timedelta(seconds=round(time.monotonic() - self._began)))
                picture: RenderableType = Text(f"starting{self._glyphs.dots} {span}", style="dim")
            else:
                picture = render(self._view, self._now(), size.width, height, self._glyphs)
            self._live.update(picture, refresh=True)
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
    shown, hidden = select(rows_of(view, now), (height or _LAST_LOOK) - 1)
    names = [cell_len(row.name) + 2 * row.indent for row in shown if row.state != DETAIL]
    name_width = min(max(names, default=0), max(width // 3, 12))
    lines = [_header(view, now), *(_row(row, name_width, width, glyphs) for row in shown)]
    if hidden:
        lines.append(Text(f"  {glyphs.dots} {hidden}", style="dim"))
    return Group(*(_fitted(line, width, glyphs) for line in lines))


def _header(view: RunView, now: datetime) -> Text:
    run = view.run
    span = took_text(run.started_at or run.created_at, run.finished_at, now)
    return Text.assemble(
        (plain(view.workflow.name or run.workflow_id), "bold"),
        (f"  {run.id}  ", "dim"),
        (run.shown_status, _STYLES.get(run.shown_status, "")),
        (f"  {span}", "dim"),
    )


def _row(row: Row, name_width: int, width: int, glyphs: Glyphs) -> Text:
    text = Text("  " * row.indent)
    if row.state == DETAIL:
        return text.append(f"{glyphs.branch} {row.name}", style="red")
    style = _STYLES.get(row.state, "")
    text.append(f"{getattr(glyphs, row.glyph)} ", style=style)
    text.append(_cut(row.name, max(name_width - 2 * row.indent, 4), glyphs))
    text.append(f"  {row.state:<9}", style=style)
    text.append(f" {row.time:>6}", style="dim")
    if row.share is not None and width >= _NARROW:
        filled = round(min(max(row.share, 0.0), 1.0) * _BAR)
        text.append("  ").append(glyphs.bar * filled, style="cyan").append(glyphs.rest * (_BAR - filled), style="dim")
    for remark in row.remarks:
        text.append(f"  {remark}", style="red" if remark.endswith("failed") else "dim")
    return text


def _cut(name: str, width: int, glyphs: Glyphs) -> str:
    """Return a name in exactly so many cells; wide characters count twice."""
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    return set_cell_size(name, width - len(glyphs.dots)) + glyphs.dots


def _fitted(text: Text, width: int, glyphs: Glyphs) -> Text:
    text.rstrip()
    text.no_wrap = True
    if text.cell_len > width:
        text.truncate(max(width - len(glyphs.dots), 0), overflow="crop")
        text.append(glyphs.dots[:width], style="dim")
    return text
