"""The inputs of a run."""

import os
import subprocess
import sys

import pytest

from shoal.errors import DefinitionError, InvalidInputError
from shoal.language.inputs import check_inputs, parse_assignment
from shoal.language.loading import load_text

FLOW = load_text("""
id: w
inputs:
  - {name: text, type: string}
  - {name: count, type: integer, default: 3, minimum: 1}
  - {name: free}
  - {name: list, type: [array, "null"], items: {type: number}, required: false, description: the numbers}
  - {name: any, required: false}
steps: [{name: s, tool: t}]
""")


def test_defaults_are_filled_in_in_the_order_of_the_workflow():
    found = check_inputs(FLOW, {"free": {"a": 1}, "text": "x"})
    assert list(found.items()) == [("text", "x"), ("count", 3), ("free", {"a": 1}), ("list", None), ("any", None)]


def test_all_problems_at_once():
    with pytest.raises(InvalidInputError) as caught:
        check_inputs(FLOW, {"tekst": "x", "count": 0, "list": [1, "a"]})
    told = {p.message: p.hint for p in caught.value.problems}
    assert told["workflow 'w' has no input 'tekst'"] == "did you mean 'text'?"
    assert told["input 'text' is missing"] == "give it with -i text=... (string)"
    assert "input 'free' is missing" in told
    assert any("input 'count' does not fit: 0 is less than the minimum" in m for m in told)
    assert any(m.startswith("input 'list' does not fit: at [1]: 'a' is not of type 'number'") for m in told)
    assert caught.value.exit_status == 2
    assert "did you mean 'text'?" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "1"], [1, None, True]),
        ("integer", [1, 2.0, -3, 10**30], [True, 1.5, "1"]),
        ("number", [1, 1.5], [True, "1"]),
        ("boolean", [True], [1, "true"]),
        ("object", [{}], [[]]),
        ("array", [[]], [{}, "x"]),
        ("null", [None], [0, ""]),
    ],
)
def test_types(kind, good, bad):
    workflow = load_text(f"id: w\ninputs: {{x: {{type: '{kind}'}}}}\nsteps: [{{name: s, tool: t}}]")
    for given in good:
        assert check_inputs(workflow, {"x": given}) == {"x": given}
    for given in bad:
        with pytest.raises(InvalidInputError, match="must be of type"):
            check_inputs(workflow, {"x": given})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text=3", ("text", "3")), ("text=a=b", ("text", "a=b")), ("count=3", ("count", 3)), ("free=[1, 2]", ("free", [1, 2])),
        ("free=plain", ("free", "plain")), ('free="quoted"', ("free", "quoted")), ("free=", ("free", "")), ("free=NaN", ("free", "NaN")),
        ("free=true", ("free", True)), ("free=" + "[" * 100_000, ("free", "[" * 100_000)), ("free={{ secrets.X }}", ("free", "{{ secrets.X }}")),
    ],
)  # fmt: skip
def test_assignments(text, value):
    assert parse_assignment(FLOW, text) == value


@pytest.mark.parametrize(
    ("text", "words"), [("text", "assigns nothing"), ("=x", "assigns nothing"), ("tekst=x", "did you mean 'text'")]
)
def test_bad_assignments(text, words):
    with pytest.raises(InvalidInputError, match=words):
        parse_assignment(FLOW, text)


def test_workflow_without_inputs_says_so():
    workflow = load_text("id: w\nsteps: [{name: s, tool: t}]")
    with pytest.raises(InvalidInputError, match="declares no inputs"):
        check_inputs(workflow, {"x": 1})


def test_loading_imports_nothing_heavy():
    code = (
        "import sys; from shoal.language import evaluation, inputs, loading, schema; schema.schema();"
        "loading.load_text('id: w\\ninputs: {x: {type: string}}\\nsteps: [{name: s, tool: t@1, if: inputs.x == 1}]');"
        "print([m for m in ('ray', 'sqlalchemy', 'pydantic', 'pydantic_settings', 'jsonschema', 'prompt_toolkit', 'rich', 'cel.cli') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_an_input_that_may_be_left_out_may_also_be_null():
    flow = load_text("id: t\ninputs: {tags: {type: array, required: false}}\nsteps: [{name: a, tool: t}]\n")
    assert check_inputs(flow, {}) == {"tags": None}
    assert check_inputs(flow, check_inputs(flow, {})) == {"tags": None}


@pytest.mark.parametrize("value", [float("inf"), "\ud800", {"deep": [float("nan")]}])
def test_what_is_no_json_is_refused(value):
    flow = load_text("id: t\ninputs: {x: {}}\nsteps: [{name: a, tool: t}]\n")
    with pytest.raises(InvalidInputError, match="JSON"):
        check_inputs(flow, {"x": value})


def test_a_pattern_costs_time_linear_in_the_text():
    flow = load_text("id: t\ninputs: {x: {type: string, pattern: '^(a+)+$'}}\nsteps: [{name: a, tool: t}]\n")
    with pytest.raises(InvalidInputError, match="match"):
        check_inputs(flow, {"x": "a" * 50_000 + "!"})
    assert check_inputs(flow, {"x": "aaa"}) == {"x": "aaa"}
    with pytest.raises(DefinitionError, match="regular expression"):
        load_text("id: t\ninputs: {x: {type: string, pattern: '(?=a)'}}\nsteps: [{name: a, tool: t}]\n")


@pytest.mark.parametrize("text", ['free={"a": 1, "a": 2}', 'free=[{"b": {"c": 1, "c": 1}}]', 'count={"a": 1, "a": 2}'])
def test_a_key_that_is_there_twice_is_refused(text):
    with pytest.raises(InvalidInputError, match=r"key '[ac]' is there twice") as caught:
        parse_assignment(FLOW, text)
    assert repr(text.partition("=")[0]) in str(caught.value)
    assert parse_assignment(FLOW, "text" + text.removeprefix("free").removeprefix("count"))[1].startswith(("{", "["))


def test_bytes_that_are_no_utf8_are_said_to_be():
    for text in (b"text=caf\xe9", b'free="caf\xe9"', b"t\xe9xt=a"):
        with pytest.raises(InvalidInputError, match="is not UTF-8 text") as caught:
            parse_assignment(FLOW, os.fsdecode(text))
        str(caught.value).encode()
