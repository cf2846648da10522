"""A graph as Mermaid text."""

from __future__ import annotations

from shoal.cli.graph import FILLS, Graph, Node

_SHAPES = {"tool": ('["', '"]'), "workflow": ('[["', '"]]'), "wait": ('(["', '"])')}


def mermaid(graph: Graph) -> str:
    """Return a flowchart; ids are ours, and every label is quoted with what Mermaid would read escaped."""
    lines = ["flowchart TD"]
    for number, node in enumerate(graph.nodes):
        opening, closing = _SHAPES[node.shape]
        lines.append(f"  s{number}{opening}{_label(node)}{closing}")
    lines += [f"  s{tail} {'-.->' if (tail, head) in graph.dashed else '-->'} s{head}" for tail, head in graph.edges]
    for status in sorted({node.status for node in graph.nodes if node.status}):
        fill, stroke = FILLS[status]
        members = ",".join(f"s{i}" for i, node in enumerate(graph.nodes) if node.status == status)
        lines += [f"  classDef {status} fill:{fill},stroke:{stroke},color:#1f2328", f"  class {members} {status}"]
    return "\n".join(lines) + "\n"


def _label(node: Node) -> str:
    return f"<b>{_escaped(node.title)}</b><br/>{_escaped(node.detail)}"


def _escaped(text: str) -> str:
    # Mermaid's own entity codes: #35; is '#'. Everything that could end the label or begin HTML or Markdown goes.
    return "".join(c if c.isalnum() or c in " ._-/@:=,?()" else f"#{ord(c)};" for c in text)
