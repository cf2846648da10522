"""A graph as SVG, with a layout of our own: no Graphviz is needed. Valid XML; every text is escaped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from shoal.cli.graph import FILLS, Graph, Node
from shoal.cli.layout import Layout, layered

_HEIGHT = 46.0
_MARGIN = 24.0
_ALONG = 48.0
_ACROSS = 24.0
_LANE = 8.0
_TITLE_CHARACTER = 8.0
_DETAIL_CHARACTER = 6.7
_HEADER_CHARACTER = 9.5
_LONGEST = 36
_HEADER = 28.0

_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float


def svg(graph: Graph) -> str:
    """Return a drawing that flows down or to the right, whichever keeps it smaller."""
    widths = [_width(node) for node in graph.nodes]
    longest = max(widths, default=0.0)
    down = layered(widths, graph.edges, gap=_ACROSS, lane=_LANE)
    right = layered([_HEIGHT] * len(widths), graph.edges, gap=_ACROSS, lane=_LANE)
    size_down = (down.breadth, down.depth * (_HEIGHT + _ALONG) - _ALONG)
    size_right = (right.depth * (longest + _ALONG) - _ALONG, right.breadth)
    if max(size_down) <= max(size_right):
        boxes = [
            _Box(_MARGIN + center - width / 2, _top() + layer * (_HEIGHT + _ALONG), width)
            for center, layer, width in zip(down.centers, down.layers, widths, strict=True)
        ]
        paths = [_path_down(graph, down, boxes, edge) for edge in graph.edges]
        return _document(graph, boxes, paths, size_down)
    boxes = [
        _Box(_MARGIN + layer * (longest + _ALONG) + (longest - width) / 2, _top() + center - _HEIGHT / 2, width)
        for center, layer, width in zip(right.centers, right.layers, widths, strict=True)
    ]
    paths = [_path_right(graph, right, boxes, edge, longest) for edge in graph.edges]
    return _document(graph, boxes, paths, size_right)


def _top() -> float:
    return _MARGIN + _HEADER


def _width(node: Node) -> float:
    title = min(len(node.title), _LONGEST) * _TITLE_CHARACTER
    detail = min(len(node.detail), _LONGEST) * _DETAIL_CHARACTER
    return max(title, detail, 64.0) + 24.0


def _path_down(graph: Graph, layout: Layout, boxes: Sequence[_Box], edge: tuple[int, int]) -> str:
    tail, head = edge
    start = (boxes[tail].x + boxes[tail].width / 2, boxes[tail].y + _HEIGHT)
    points = [start]
    for i, center in enumerate(layout.bends[edge], start=1):
        y = boxes[tail].y + i * (_HEIGHT + _ALONG)
        points += [(_MARGIN + center, y), (_MARGIN + center, y + _HEIGHT)]
    points.append((boxes[head].x + boxes[head].width / 2, boxes[head].y))
    return _path(points, dashed=edge in graph.dashed, down=True)


def _path_right(graph: Graph, layout: Layout, boxes: Sequence[_Box], edge: tuple[int, int], longest: float) -> str:
    tail, head = edge
    points = [(boxes[tail].x + boxes[tail].width, boxes[tail].y + _HEIGHT / 2)]
    for i, center in enumerate(layout.bends[edge], start=1):
        x = _MARGIN + (layout.layers[tail] + i) * (longest + _ALONG)
        points += [(x, _top() + center), (x + longest, _top() + center)]
    points.append((boxes[head].x, boxes[head].y + _HEIGHT / 2))
    return _path(points, dashed=edge in graph.dashed, down=False)


def _path(points: Sequence[_Point], *, dashed: bool, down: bool) -> str:
    """Return a smooth line: a curve between layers, straight where it passes one."""
    parts = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
        if i % 2:
            parts.append(f"L{x1:.1f},{y1:.1f}")
        elif down:
            middle = (y0 + y1) / 2
            parts.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
        else:
            middle = (x0 + x1) / 2
            parts.append(f"C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}")
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{" ".join(parts)}"{dash} marker-end="url(#arrow)"/>'


def _document(graph: Graph, boxes: Sequence[_Box], paths: Sequence[str], size: tuple[float, float]) -> str:
    title_width = len(graph.title) * _HEADER_CHARACTER + 2 * _MARGIN
    width, height = max(size[0] + 2 * _MARGIN, title_width, 120.0), max(size[1], 0.0) + 2 * _MARGIN + _HEADER
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(graph.title)}'
            ' font-family="ui-sans-serif, Helvetica, Arial, sans-serif">'
        ),
        (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#57606a"/></marker></defs>'
        ),
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        (
            f'<text x="{_MARGIN:.0f}" y="{_MARGIN + 8:.0f}" font-size="15" font-weight="600" fill="#1f2328">'
            f"{escape(graph.title)}</text>"
        ),
        '<g fill="none" stroke="#57606a" stroke-width="1.3">',
        *paths,
        "</g>",
    ]
    for node, box in zip(graph.nodes, boxes, strict=True):
        lines += _node(node, box)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _node(node: Node, box: _Box) -> list[str]:
    fill, stroke = FILLS[node.status]
    radius = _HEIGHT / 2 if node.shape == "wait" else 7
    dash = ' stroke-dasharray="5 4"' if node.last else ""
    middle = box.x + box.width / 2
    hover = f"{node.title}: {node.detail}" + (f" ({node.status})" if node.status else "")
    lines = [
        f"<g><title>{escape(hover)}</title>",
        (
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{_HEIGHT:.0f}" rx="{radius:g}"'
            f' fill="{fill}" stroke="{stroke}" stroke-width="1.5"{dash}/>'
        ),
    ]
    if node.shape == "workflow":
        lines.append(
            f'<rect x="{box.x + 3:.1f}" y="{box.y + 3:.1f}" width="{box.width - 6:.1f}" height="{_HEIGHT - 6:.0f}" rx="5"'
            f' fill="none" stroke="{stroke}" stroke-width="0.8"/>'
        )
    lines += [
        (
            f'<text x="{middle:.1f}" y="{box.y + 19:.1f}" text-anchor="middle" font-size="13" font-weight="600" fill="#1f2328">'
            f"{escape(_cut(node.title))}</text>"
        ),
        (
            f'<text x="{middle:.1f}" y="{box.y + 35:.1f}" text-anchor="middle" font-size="11" fill="#57606a">'
            f"{escape(_cut(node.detail))}</text></g>"
        ),
    ]
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
