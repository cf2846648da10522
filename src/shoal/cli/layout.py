"""A layered layout: where the nodes and bends of a graph go.

Owns the geometry, in abstract units along and across the direction of flow. The steps are those of Sugiyama, Tagawa and
Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981): layers by longest path, invisible nodes
where an edge crosses a layer, fewer crossings by barycentres, then positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are.

    Attributes:
        layers: The layer of each node, from 0.
        centers: The position of each node across the flow.
        bends: For each edge the position across the flow in each layer between its ends.
        breadth: Extent across the flow; positions are from 0 to it.
    """

    layers: tuple[int, ...]
    centers: tuple[float, ...]
    bends: dict[tuple[int, int], tuple[float, ...]]
    breadth: float

    @property
    def depth(self) -> int:
        """Return the number of layers."""
        return max(self.layers, default=-1) + 1


def layered(extents: Sequence[float], edges: Sequence[tuple[int, int]], *, gap: float, lane: float) -> Layout:
    """Lay out an acyclic graph.

    Args:
        extents: The extent of each node across the flow.
        edges: From node to node.
        gap: Between neighbours in a layer.
        lane: The extent of an edge where it passes a layer.
    """
    layers = _longest_paths(len(extents), edges)
    sizes = list(extents)
    levels = list(layers)
    pairs: list[tuple[int, int]] = []
    chains: dict[tuple[int, int], list[int]] = {}
    for tail, head in edges:
        chain = [tail]
        for level in range(layers[tail] + 1, layers[head]):
            sizes.append(lane)
            levels.append(level)
            chain.append(len(sizes) - 1)
        chain.append(head)
        pairs += itertools.pairwise(chain)
        chains[tail, head] = chain[1:-1]
    rows = _ordered(levels, pairs)
    positions, breadth = _placed(rows, sizes, pairs, gap)
    bends = {edge: tuple(positions[node] for node in chain) for edge, chain in chains.items()}
    return Layout(tuple(layers), tuple(positions[: len(extents)]), bends, breadth)


def _longest_paths(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for tail, head in edges:
        after[tail].append(head)
        missing[head] += 1
    layer = [0] * count
    ready = [node for node in range(count) if not missing[node]]
    for node in ready:
        for head in after[node]:
            layer[head] = max(layer[head], layer[node] + 1)
            missing[head] -= 1
            if not missing[head]:
                ready.append(head)
    return layer


def _ordered(levels: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for node, level in enumerate(levels):
        rows[level].append(node)
    above, below = _neighbours(len(levels), pairs)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = above if down else below
        place = {node: i for row in rows for i, node in enumerate(row)}
        for row in rows if down else reversed(rows):
            row.sort(key=lambda node: _mean([place[n] for n in neighbours[node]], place[node]))
            place.update((node, i) for i, node in enumerate(row))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(rows):
        place = {node: i for i, node in enumerate(lower)}
        ends = [place[head] for tail in upper for head in sorted(below[tail], key=place.__getitem__)]
        total += _inversions(ends, len(lower))
    return total


def _inversions(ends: Sequence[int], size: int) -> int:
    # A Fenwick tree counts, for each end, the earlier ends that lie beyond it.
    tree = [0] * (size + 1)
    total = 0
    for seen, end in enumerate(ends):
        i, smaller = end + 1, 0
        while i:
            smaller += tree[i]
            i &= i - 1
        total += seen - smaller
        i = end + 1
        while i <= size:
            tree[i] += 1
            i += i & -i
    return total


def _placed(
    rows: Sequence[Sequence[int]], sizes: Sequence[float], pairs: Sequence[tuple[int, int]], gap: float
) -> tuple[list[float], float]:
    above, below = _neighbours(len(sizes), pairs)
    position = [0.0] * len(sizes)
    for row in rows:
        total = sum(sizes[n] for n in row) + gap * (len(row) - 1)
        at = -total / 2
        for node in row:
            position[node] = at + sizes[node] / 2
            at += sizes[node] + gap
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            neighbours = above if down else below
            wanted = [_mean([position[n] for n in neighbours[node]], position[node]) for node in row]
            _settle(row, wanted, sizes, position, gap)
    low = min((position[n] - sizes[n] / 2 for row in rows for n in row), default=0.0)
    high = max((position[n] + sizes[n] / 2 for row in rows for n in row), default=0.0)
    return [p - low for p in position], high - low


def _settle(row: Sequence[int], wanted: Sequence[float], sizes: Sequence[float], position: list[float], gap: float) -> None:
    """Place a row as near to what is wanted as its order and gaps allow: blocks that touch move as one."""
    blocks: list[tuple[float, int, int]] = []  # wanted start of the block, its first member, one past its last
    offsets = [0.0]
    for node, following in itertools.pairwise(row):
        offsets.append(offsets[-1] + sizes[node] / 2 + gap + sizes[following] / 2)
    starts = [want - offset for want, offset in zip(wanted, offsets, strict=True)]
    for i, start in enumerate(starts):
        blocks.append((start, i, i + 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (left, first, middle), (right, _, last) = blocks[-2], blocks[-1]
            mean = (left * (middle - first) + right * (last - middle)) / (last - first)
            blocks[-2:] = [(mean, first, last)]
    for start, first, last in blocks:
        for i in range(first, last):
            position[row[i]] = start + offsets[i]


def _neighbours(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for tail, head in pairs:
        above[head].append(tail)
        below[tail].append(head)
    return above, below


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
