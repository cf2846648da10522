"""Graphs: what is drawn, and that what is written is valid in its language."""

import re
import time
import xml.etree.ElementTree as ET
from datetime import timedelta
from itertools import pairwise

import pytest
from cli_world import step, tool_step, workflow
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cli.graph import draw, graph_of
from shoal.cli.layout import layered
from shoal.model.ids import StepName
from shoal.model.run import ItemCounts
from shoal.model.workflow import Condition, Constant, Reference, RunWorkflow, Sleep, Step, WaitSignal

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert("x")</script> & "quoted" ]] --> \\ #'


def diamond(**keys):
    return workflow(
        tool_step("start"),
        tool_step("left", "start"),
        tool_step("right", "start", foreach=Reference(("steps", "start", "outputs", "files"))),
        tool_step("join", "left", "right", "start", condition=Condition(Constant(True))),
        finally_steps=(tool_step("clean"), tool_step("tell", "clean")),
        **keys,
    )


def names(graph):
    return {(graph.nodes[a].title.split()[0], graph.nodes[b].title.split()[0]) for a, b in graph.edges}


def test_what_other_edges_imply_is_not_drawn_and_finally_follows_the_ends():
    graph = graph_of(diamond())
    assert names(graph) == {
        ("start", "left"), ("start", "right"), ("left", "join"), ("right", "join"), ("join", "clean"), ("clean", "tell"),
    }  # fmt: skip
    assert {(graph.nodes[a].title, graph.nodes[b].title) for a, b in graph.dashed} == {("join ?", "clean")}
    assert [n.title for n in graph.nodes][2:4] == ["right (each)", "join ?"]


def test_records_give_status_and_count():
    graph = graph_of(diamond(), [step("start"), step("right", "running", items=ItemCounts(12, 3))])
    assert [(n.title, n.status) for n in graph.nodes[:3]] == [
        ("start", "succeeded"),
        ("left", ""),
        ("right x12", "running"),
    ]


def test_mermaid():
    text = draw(diamond(), [step("start"), step("left", "failed")], "mermaid")
    lines = text.splitlines()
    assert lines[0] == "flowchart TD"
    assert '  s0["<b>start</b><br/>start-tool"]' in lines
    assert "  s0 --> s1" in lines
    assert "  s3 -.-> s4" in lines
    assert "  class s1 failed" in lines


def test_dot():
    text = draw(diamond(), [], "dot")
    assert text.startswith('digraph "weekly-report" {')
    assert 's0 [label="start\\nstart-tool", shape=box' in text
    assert "  s3 -> s4 [style=dashed];" in text
    assert text.endswith("}\n")


def all_kinds():
    return workflow(
        tool_step("tool"),
        Step(StepName("sub"), RunWorkflow(workflow(id="child")), needs=(StepName("tool"),)),
        Step(StepName("ask"), WaitSignal(Constant("approved"), timedelta(hours=1)), needs=(StepName("tool"),)),
        Step(StepName("nap"), Sleep(Constant(EVIL)), needs=(StepName("sub"), StepName("ask"))),
        name=EVIL,
    )


def test_svg_is_valid_xml_with_every_step_and_edge_and_text_escaped():
    root = parsed(draw(all_kinds(), [step("tool")], "svg"))
    texts = [t.text for t in root.iter(f"{SVG}text")]
    for name in ("tool", "sub", "ask", "nap", "workflow child", "wait for approved", EVIL):
        assert name in texts
    assert len([p for p in root.iter(f"{SVG}path") if p.get("marker-end")]) == 4
    assert not list(root.iter(f"{SVG}script"))
    assert "tool: tool-tool (succeeded)" in [t.text for t in root.iter(f"{SVG}title")]


def test_hostile_text_stays_inside_its_quotes():
    labels = re.findall(r's\d+[^\n]*?"(.*)"', draw(all_kinds(), [], "mermaid"))
    assert len(labels) == 4
    assert all(not re.search(r'["\]]|<(?!b>|/b>|br/>)', label) for label in labels)
    for line in draw(all_kinds(), [], "dot").splitlines():
        assert re.sub(r'"(?:[^"\\]|\\.)*"', "", line).count('"') == 0


def parsed(text):
    return ET.fromstring(text)  # noqa: S314 - our own


def boxes(text):
    found = []
    for group in parsed(text).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None:
            found.append(tuple(float(rect.get(k)) for k in ("x", "y", "width", "height")))
    return found


def wide():
    return workflow(
        tool_step("first"),
        *(tool_step(f"part-{i}", "first") for i in range(40)),
        tool_step("last", *(f"part-{i}" for i in range(40))),
    )


def chain():
    return workflow(*(tool_step(f"s{i}", *([f"s{i - 1}"] if i else [])) for i in range(60)))


@pytest.mark.parametrize("make", [diamond, all_kinds, wide, chain], ids=lambda f: f.__name__)
def test_boxes_do_not_overlap_and_lie_inside_the_picture(make):
    text = draw(make(), [], "svg")
    root = parsed(text)
    width, height = float(root.get("width")), float(root.get("height"))
    found = boxes(text)
    assert len(found) == len(graph_of(make()).nodes)
    for i, (x, y, w, h) in enumerate(found):
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
        for x2, y2, w2, h2 in found[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_a_wide_graph_flows_to_the_right_and_a_chain_down():
    assert len({b[1] for b in boxes(draw(wide(), [], "svg"))}) > 3
    assert len({round(b[0] + b[2] / 2) for b in boxes(draw(chain(), [], "svg"))}) == 1


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    edges = draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=40))
    sizes = draw(st.lists(st.floats(10, 200), min_size=count, max_size=count))
    return sizes, sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})


@settings(max_examples=150)
@given(graphs())
def test_any_layout_has_edges_forward_and_neighbours_apart(graph):
    sizes, edges = graph
    layout = layered(sizes, edges, gap=10, lane=4)
    for tail, head in edges:
        assert layout.layers[tail] < layout.layers[head]
        assert len(layout.bends[tail, head]) == layout.layers[head] - layout.layers[tail] - 1
    for layer in range(layout.depth):
        row = sorted((layout.centers[n], sizes[n]) for n in range(len(sizes)) if layout.layers[n] == layer)
        assert all(a + sa / 2 + 10 <= b - sb / 2 + 1e-6 for (a, sa), (b, sb) in pairwise(row))
        assert all(c - s / 2 >= -1e-6 and c + s / 2 <= layout.breadth + 1e-6 for c, s in row)


def test_a_big_graph_is_drawn_in_seconds():
    steps = [tool_step(f"s{i}", *{f"s{j}" for j in (i // 2, i // 3, i - 1) if j < i}) for i in range(1000)]
    before = time.monotonic()
    assert draw(workflow(*steps), [], "svg").count("<title>") == 1000
    assert time.monotonic() - before < 20


def test_an_empty_definition_is_drawn():
    flow = workflow()
    object.__setattr__(flow, "steps", ())
    for form in ("mermaid", "dot", "svg"):
        assert draw(flow, [], form)
