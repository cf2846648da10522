"""The charts of a report, as SVG. They stand on white, so that they read well on a light and on a dark page."""

from __future__ import annotations

import math

import svgwrite

from report_writer._figures import Figures, Hotspot, Language

WIDTH = 860
INK, SOFT, GRID = "#1f2937", "#6b7280", "#e5e7eb"
CODE, COMMENT, BLANK = "#2563eb", "#93c5fd", "#d1d5db"
SPOT = "#ef4444"
SHOWN = 10
TICKS = 5


def draw_languages(figures: Figures) -> str:
    """Return stacked bars of code, comment and blank lines by language, the ten with most lines and the rest; empty if none."""
    bars = _bars(figures)
    if not bars:
        return ""
    left, top, row = 150, 64, 30
    height = top + row * len(bars) + 44
    drawing = _canvas(height, "Lines by language")
    _legend(drawing, (("code", CODE), ("comment", COMMENT), ("blank", BLANK)))
    step = _step(max(bar.lines for bar in bars))
    ticks = math.ceil(max(bar.lines for bar in bars) / step)
    scale = (WIDTH - left - 90) / (step * ticks)
    for tick in range(ticks + 1):
        x = left + tick * step * scale
        drawing.add(drawing.line((x, top - 6), (x, height - 40), stroke=GRID))
        _text(drawing, f"{tick * step:,}", (x, height - 22), size=11, fill=SOFT, anchor="middle")
    for i, bar in enumerate(bars):
        x, y = float(left), top + i * row
        _text(drawing, _short(bar.name, 20), (left - 10, y + 16), anchor="end")
        for value, colour in ((bar.code, CODE), (bar.comment, COMMENT), (bar.blank, BLANK)):
            drawing.add(drawing.rect((round(x, 2), y + 2), (round(value * scale, 2), row - 10), fill=colour))
            x += value * scale
        _text(drawing, f"{bar.lines:,}", (x + 8, y + 16), size=11, fill=SOFT)
    return _done(drawing)


def draw_hotspots(figures: Figures) -> str:
    """Return commits against complexity, a circle for each Python file, its area its lines of code; empty if there is none."""
    spots = figures.hotspots
    if not spots or max(spot.commits for spot in spots) < 2:  # noqa: PLR2004 - one commit is no history
        return ""
    left, top, height = 70, 64, 440
    bottom = height - 60
    drawing = _canvas(height, "Hotspots: how often files change, and how complex they are")
    right = WIDTH - 40
    x_step, y_step = _step(max(s.commits for s in spots)), _step(max(s.complexity for s in spots))
    x_ticks = math.ceil(max(s.commits for s in spots) * 1.05 / x_step)
    y_ticks = math.ceil(max(s.complexity for s in spots) * 1.05 / y_step)
    x_scale, y_scale = (right - left) / (x_step * x_ticks), (bottom - top) / (y_step * y_ticks)
    for tick in range(x_ticks + 1):
        x = left + tick * x_step * x_scale
        drawing.add(drawing.line((x, top), (x, bottom), stroke=GRID))
        _text(drawing, f"{tick * x_step:,}", (x, bottom + 18), size=11, fill=SOFT, anchor="middle")
    for tick in range(y_ticks + 1):
        y = bottom - tick * y_step * y_scale
        drawing.add(drawing.line((left, y), (right, y), stroke=GRID))
        _text(drawing, f"{tick * y_step:,}", (left - 8, y + 4), size=11, fill=SOFT, anchor="end")
    _text(drawing, "commits", ((left + right) / 2, height - 16), size=12, fill=SOFT, anchor="middle")
    _text(drawing, "complexity", (left - 44, top - 12), size=12, fill=SOFT)
    largest = max(spot.code for spot in spots) or 1
    for rank, spot in reversed(list(enumerate(spots[:200]))):
        x, y = left + spot.commits * x_scale, bottom - spot.complexity * y_scale
        _circle(drawing, spot, (x, y), 4 + 14 * math.sqrt(spot.code / largest), named=rank < TICKS, right=right)
    return _done(drawing)


def _circle(
    drawing: svgwrite.Drawing, spot: Hotspot, at: tuple[float, float], radius: float, *, named: bool, right: float
) -> None:
    x, y = at
    circle = drawing.circle(
        (round(x, 2), round(y, 2)), round(radius, 2), fill=SPOT if named else CODE, fill_opacity=0.6, stroke="#ffffff"
    )
    circle.set_desc(title=_clean(f"{spot.path}: {spot.commits} commits, complexity {spot.complexity}, {spot.code} lines"))
    drawing.add(circle)
    if named:
        end = x > (right + 70) / 2
        place = (x - radius - 5, y + 4) if end else (x + radius + 5, y + 4)
        _text(drawing, _short(spot.path.rpartition("/")[2], 30), place, size=11, anchor="end" if end else "start")


def _bars(figures: Figures) -> list[Language]:
    ordered = sorted(figures.languages, key=lambda entry: (-entry.lines, entry.name))
    ordered = [entry for entry in ordered if entry.lines and not entry.prose]
    shown, rest = ordered[:SHOWN], ordered[SHOWN:]
    if rest:
        sums = [sum(getattr(entry, name) for entry in rest) for name in ("files", "code", "comment", "blank")]
        shown.append(Language(f"{len(rest)} more", *sums))
    return shown


def _canvas(height: int, title: str) -> svgwrite.Drawing:
    drawing = svgwrite.Drawing(size=(WIDTH, height), profile="full", debug=False)
    drawing.viewbox(0, 0, WIDTH, height)
    drawing.set_desc(title=title)
    drawing.add(drawing.rect((0, 0), (WIDTH, height), fill="#ffffff", rx=8))
    _text(drawing, title, (24, 32), size=16, weight="bold")
    return drawing


def _legend(drawing: svgwrite.Drawing, entries: tuple[tuple[str, str], ...]) -> None:
    for i, (name, colour) in enumerate(entries):
        x = WIDTH - 90 * (len(entries) - i)
        drawing.add(drawing.rect((x, 22), (12, 12), fill=colour))
        _text(drawing, name, (x + 18, 32), size=12, fill=SOFT)


def _text(
    drawing: svgwrite.Drawing, text: str, at: tuple[float, float], *, size: int = 13, fill: str = INK, anchor: str = "start",
    weight: str = "normal",
) -> None:  # fmt: skip
    family = "Inter, 'Segoe UI', Helvetica, Arial, sans-serif"
    place = (round(at[0], 2), round(at[1], 2))
    drawing.add(
        drawing.text(_clean(text), place, font_size=size, fill=fill, text_anchor=anchor, font_weight=weight, font_family=family)
    )


def _done(drawing: svgwrite.Drawing) -> str:
    return f"{drawing.tostring()}\n"


def _step(largest: int) -> int:
    """Return a round distance between ticks (1, 2 or 5 times a power of ten) that makes four to eight of them."""
    rough = max(largest / TICKS, 1)
    power = 10 ** math.floor(math.log10(rough))
    return int(next(f * power for f in (1, 2, 5, 10) if f * power >= 0.75 * rough))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
