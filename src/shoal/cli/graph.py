"""A workflow as a graph to draw.

Owns the nodes and edges that are drawn, in all formats the same: an edge for each need that no longer path implies, `finally`
steps after the last ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shoal.cli.sources import action_text
from shoal.cli.terminal import one_line
from shoal.cli.view import defined_steps
from shoal.model.run import StepRecord
from shoal.model.workflow import RunWorkflow, Sleep, Step, WaitSignal, Workflow

Shape = Literal["tool", "workflow", "wait"]
FILLS: Mapping[str, tuple[str, str]] = {
    "": ("#f6f8fa", "#57606a"),
    "pending": ("#f6f8fa", "#8c959f"),
    "running": ("#ddf4ff", "#0969da"),
    "waiting": ("#fff8c5", "#9a6700"),
    "succeeded": ("#dafbe1", "#1a7f37"),
    "failed": ("#ffebe9", "#cf222e"),
    "skipped": ("#eaeef2", "#8c959f"),
    "canceled": ("#fbefff", "#8250df"),
}
"""Fill and stroke of a node by its status; both are readable on white and with dark text."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step, to draw.

    Attributes:
        title: Its name, with a mark for a loop or a condition.
        detail: What it does.
        status: Of its record; empty: there is none.
        last: Whether it is a `finally` step.
    """

    title: str
    detail: str
    shape: Shape
    status: str = ""
    last: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """What is drawn: nodes by number, edges from one to a later one.

    Attributes:
        dashed: The edges into `finally` steps, which are taken in any case.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]
    dashed: frozenset[tuple[int, int]] = frozenset()


def draw(workflow: Workflow, records: Sequence[StepRecord], form: str) -> str:
    """Return a workflow, with the status of its steps where they are recorded, as `mermaid`, `dot` or `svg`."""
    graph = graph_of(workflow, records)
    if form == "mermaid":
        from shoal.cli.mermaid import mermaid

        return mermaid(graph)
    if form == "dot":
        from shoal.cli.dot import dot

        return dot(graph)
    from shoal.cli.svg import svg

    return svg(graph)


def graph_of(workflow: Workflow, records: Sequence[StepRecord] = ()) -> Graph:
    """Return the graph of a workflow."""
    found = {step.name: step for step in defined_steps(records)}
    steps = (*workflow.steps, *workflow.finally_steps)
    first_last = len(workflow.steps)
    number = {step.name: i for i, step in enumerate(steps)}
    edges = _reduced(len(steps), [(number[need], i) for i, step in enumerate(steps) for need in step.needs if need in number])
    # What nothing of the body follows leads to the `finally` steps that wait for no other of them.
    inner = {tail for tail, head in edges if head < first_last}
    entered = {head for tail, head in edges if tail >= first_last}
    ends = [i for i in range(first_last) if i not in inner]
    dashed = {(end, i) for i in range(first_last, len(steps)) if i not in entered for end in ends}
    nodes = tuple(_node(step, found.get(step.name), last=i >= first_last) for i, step in enumerate(steps))
    return Graph(workflow.name or workflow.id, nodes, tuple(sorted({*edges, *dashed})), frozenset(dashed))


def _node(step: Step, record: StepRecord | None, *, last: bool) -> Node:
    title = step.name
    if step.foreach is not None:
        count = f" x{record.items.total}" if record is not None and record.items is not None else " (each)"
        title += count
    if step.condition is not None:
        title += " ?"
    shape: Shape = "tool"
    if isinstance(step.action, RunWorkflow):
        shape = "workflow"
    elif isinstance(step.action, WaitSignal | Sleep):
        shape = "wait"
    return Node(title, one_line(action_text(step.action)), shape, record.status.value if record else "", last)


def _reduced(count: int, edges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Leave out every edge that a longer path implies (transitive reduction of an acyclic graph)."""
    before: list[set[int]] = [set() for _ in range(count)]
    for tail, head in edges:
        before[head].add(tail)
    ancestors: dict[int, int] = {}
    for node in _in_order(before):
        # A set of nodes as the bits of a number: unions are one operation.
        ancestors[node] = 0
        for tail in before[node]:
            ancestors[node] |= ancestors[tail] | 1 << tail
    return {
        (tail, head)
        for head in range(count)
        for tail in before[head]
        if not any(ancestors[other] >> tail & 1 for other in before[head] if other != tail)
    }


def _in_order(before: Sequence[set[int]]) -> list[int]:
    after: list[list[int]] = [[] for _ in before]
    missing = [len(tails) for tails in before]
    for head, tails in enumerate(before):
        for tail in tails:
            after[tail].append(head)
    ready = [node for node, count in enumerate(missing) if not count]
    for node in ready:
        for head in after[node]:
            missing[head] -= 1
            if not missing[head]:
                ready.append(head)
    return ready
