"""YAML: the 1.2 core schema, positions and bounds."""

import time

import pytest
from language_scope import problems

from shoal.errors import DefinitionError
from shoal.language._document import Mapping, Scalar, parse, to_json
from shoal.language._problems import Problems
from shoal.language.loading import load_file, load_mapping, load_text


def tree(text):
    found = Problems()
    node = parse(text, "f", found)
    return node, found.found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("=", "="), ("<<", "<<"),
        ("~", None), ("null", None), ("", None), ("true", True), ("FALSE", False), ("tRue", "tRue"), ("12", 12), ("-3", -3),
        ("017", 17), ("0o17", 15), ("0x1F", 31), ("1_000", "1_000"), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-.5", -0.5),
        ("'1'", "1"), ('"true"', "true"), ("+1", 1), (".", "."), ("-", "-"), ("0b1", "0b1"), ("123456789012345678901", 123456789012345678901),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says(text, meant):
    if text == "-":
        text = "'-'"
    node, found = tree(f"k: {text}")
    assert not found
    assert to_json(node) == {"k": meant}
    assert type(to_json(node)["k"]) is type(meant)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999", "9" * 5000])
def test_numbers_that_are_not_json_are_refused(text):
    _, found = tree(f"k: {text}")
    assert [(p.line, p.column) for p in found] == [(1, 4)]


def test_every_node_knows_its_place():
    node, _ = tree("a:\n  - b\n  - {c: 'd'}\n")
    assert isinstance(node, Mapping)
    _, items = node.entries["a"]
    assert (items.mark.line, items.mark.column) == (2, 3)
    inner = items.items[1]
    mark, leaf = inner.entries["c"]
    assert (mark.line, mark.column) == (3, 6)
    assert isinstance(leaf, Scalar)
    assert (leaf.mark.line, leaf.mark.column) == (3, 9)
    assert leaf.place(0).column == 10  # inside of the quotes


def test_aliases_are_followed_and_bounded():
    node, found = tree("a: &x [1, 2]\nb: *x\n")
    assert not found
    assert to_json(node) == {"a": [1, 2], "b": [1, 2]}


def test_alias_bomb_costs_nothing():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))
    start = time.perf_counter()
    found = problems(bomb)
    assert time.perf_counter() - start < 1
    assert "aliases followed" in found[0][2]
    assert found[0][0] == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [*x]", "stands for nothing"),
        ("a: *nobody", "stands for nothing"),
        ("a: !!python/object:os.system x", "tags"),
        ("a: !foo x", "tags"),
        ("a: 1\n---\nb: 2", "second document"),
        ("[" * 500, "nested"),
        ("{a: " * 500, "nested"),
        ("1: x", "a key must be text"),
        ("? [a]\n: x", "a key must be text"),
        ("a: 1\na: 2", "twice"),
        ("\x00", "broken YAML"),
        ("a: \ud800", ""),
        ("", "the file is empty"),
        ("# only a comment", "the file is empty"),
        ("just text", "must be a mapping, not the text"),
        ("- a", "must be a mapping, not a list"),
        ("a: {{ x }}", "a key must be text"),
        ("x" * 1_100_000, "larger than 1 MiB"),
    ],
)
def test_what_is_not_a_workflow_is_a_definition_error(text, words):
    assert any(words in message for _, _, message, _ in problems(text))


def test_large_file_is_refused_without_being_read(tmp_path):
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    start = time.perf_counter()
    with pytest.raises(DefinitionError, match="larger than 1 MiB"):
        load_file(path)
    assert time.perf_counter() - start < 0.5


def test_missing_file_folder_and_bad_bytes(tmp_path):
    with pytest.raises(DefinitionError, match="no such file"):
        load_file(tmp_path / "no.yaml")
    with pytest.raises(DefinitionError, match="not a file"):
        load_file(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"id: a\nname: \xff\n")
    with pytest.raises(DefinitionError, match=r"b\.yaml:2:1: the file is not UTF-8"):
        load_file(tmp_path / "b.yaml")


def test_byte_order_mark_and_windows_lines_are_fine(tmp_path):
    (tmp_path / "w.yaml").write_bytes(b"\xef\xbb\xbfid: a\r\nsteps:\r\n- {name: s, tool: t}\r\n")
    assert load_file(tmp_path / "w.yaml").id == "a"


def test_thousand_steps_load_fast():
    body = "".join(f"  - name: s{i}\n    tool: t\n    inputs: {{a: '{{{{ inputs.x }}}}', b: [1, 2]}}\n" for i in range(1000))
    start = time.perf_counter()
    workflow = load_text(f"id: a\ninputs: {{x: }}\nsteps:\n{body}")
    assert len(workflow.steps) == 1000
    assert time.perf_counter() - start < 10  # about 1 s on a quiet machine


def test_mapping_tells_places_in_the_mapping():
    with pytest.raises(DefinitionError) as caught:
        load_mapping({"id": "a", "steps": [{"name": "s", "tool": 3}, {"name": "t", "tool": "x", "nees": []}]})
    told = [(p.file, p.message) for p in caught.value.problems]
    assert ("<continuation>", "steps[0].tool: `tool` must be text, not the number 3") in told
    assert any(m.startswith("steps[1].nees: a step has no key") for _, m in told)


@pytest.mark.parametrize("data", [{"id": object()}, {1: 2}, {"id": float("nan")}, {"id": b"x"}])
def test_mapping_must_be_json(data):
    with pytest.raises(DefinitionError):
        load_mapping(data)


def test_mapping_is_bounded():
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(DefinitionError, match="nested too deeply"):
        load_mapping(deep)
