"""A graph as DOT, for Graphviz."""

from __future__ import annotations

from shoal.cli.graph import FILLS, Graph

_SHAPES = {"tool": "box", "workflow": "component", "wait": "oval"}


def dot(graph: Graph) -> str:
    """Return a digraph; every text is a quoted string."""
    lines = [
        f"digraph {_quoted(graph.title)} {{",
        '  node [style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [color="#57606a"];',
    ]
    for number, node in enumerate(graph.nodes):
        fill, stroke = FILLS[node.status]
        label = _quoted(f"{node.title}\n{node.detail}")
        lines.append(f'  s{number} [label={label}, shape={_SHAPES[node.shape]}, fillcolor="{fill}", color="{stroke}"];')
    lines += [
        f"  s{tail} -> s{head}" + (" [style=dashed];" if (tail, head) in graph.dashed else ";") for tail, head in graph.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
