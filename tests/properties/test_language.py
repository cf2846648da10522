"""The language under random input: nothing but its own errors, no crash, and no result is evaluated twice."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import DefinitionError, ExpressionError
from shoal.language._lexer import ExpressionSyntaxError
from shoal.language.durations import parse_duration, parse_size
from shoal.language.evaluation import evaluate, materialize, materialize_all
from shoal.language.expressions import parse_expression
from shoal.language.loading import load_file, load_mapping, load_text
from shoal.language.tool_references import parse_tool
from shoal.model.encoding import decode, json_bytes
from shoal.model.serial import from_json, to_json
from shoal.model.values import SecretName, SecretText, Value
from shoal.model.workflow import Reference, Workflow

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
WORDS = st.sampled_from(
    ["id", "steps", "name", "tool", "inputs", "outputs", "if", "foreach", "needs", "wait", "sleep", "retry", "{{", "}}", "a", "s-1", ": ", "- ",
     "\n", "\n  ", "{", "}", "[", "]", "'", '"', "&x", "*x", "!!str", "|", ">", "#", ",", "steps.a.outputs.k", "inputs.x", "1", "true", "\t", "---"]
)  # fmt: skip
PIECES = st.sampled_from(
    ["inputs.x", "inputs.y.z", "steps.a.outputs.k", "item", "secrets.K", "1", "2.5", "'s'", "true", "null", " + ", " - ", " * ", " / ", " % ", " == ",
     " < ", " && ", " || ", "!", "-", "(", ")", "[", "]", "{", "}", ", ", ": ", " ? ", ".map(x, ", ".filter(x, ", ".all(x, ", ".size()", "x",
     ".matches('a+')", "has(", "size(", "string(", "int(", "always()", " in ", "9223372036854775807", "b'x'", "1u", "timestamp(", "'''", "\\", "é"]
)  # fmt: skip


class Scope:
    """Answers every reference with the same value."""

    failed = False

    def __init__(self, data) -> None:
        raw = json_bytes(data)
        self.value = Value("json", len(raw), data=raw)

    def get(self, root):
        return SecretText((SecretName(root[1]),)) if root[0] == "secrets" else self.value

    def load(self, value):
        return decode(value, lambda digest: b"", trusted=False)


@given(st.text(max_size=300) | st.lists(WORDS, max_size=40).map("".join) | st.text(alphabet=string.printable, max_size=300))
@settings(max_examples=300)
def test_any_text_is_a_workflow_or_a_definition_error(text):
    try:
        load_text(text)
    except DefinitionError as error:
        assert error.problems  # noqa: PT017
        assert all(p.line >= 1 and p.column >= 1 for p in error.problems)  # noqa: PT017


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_any_bytes_are_a_workflow_or_a_definition_error(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.yaml")
        path.write_bytes(data)
        try:
            load_file(path)
        except DefinitionError as error:
            assert error.problems  # noqa: PT017


@given(JSON)
@settings(max_examples=100)
def test_any_step_is_a_step_or_a_definition_error(data):
    for mapping in (
        {"id": "a", "steps": [data]},
        {
            "id": "a",
            "steps": [{"name": "s", "tool": "t", "inputs": data, "retry": data, "if": data, "foreach": data, "needs": data}],
        },
        {"id": "a", "inputs": data, "outputs": data, "defaults": data, "steps": [{"name": "s", "sleep": data}]},
    ):
        try:
            load_mapping(mapping)
        except DefinitionError as error:
            assert error.problems  # noqa: PT017


@given(st.text(max_size=60) | st.lists(PIECES, min_size=1, max_size=14).map("".join), JSON)
@settings(max_examples=400)
def test_any_expression_has_a_json_value_or_an_error(text, data):
    try:
        parsed, _ = parse_expression(text, condition=True)
    except ExpressionSyntaxError as error:
        assert 0 <= error.offset <= len(text)  # noqa: PT017
        return
    try:
        result = evaluate(parsed.result, Scope(data))
    except ExpressionError:
        return
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@given(
    st.text(max_size=40) | st.sampled_from(["{{ secrets.X }}", "${HOME}", '{"a": 1}', "[1]", "true", "{{ inputs.x }}", "$(id)"])
)
def test_what_a_tool_returned_stays_exactly_that(text):
    scope = Scope({"t": text})
    whole = load_text(
        "id: a\ninputs: {x: }\nsteps: [{name: s, tool: t, inputs: {w: '{{ inputs.x.t }}', m: '<{{ inputs.x.t }}>', e: '{{ [inputs.x.t] }}'}}]"
    )
    made = materialize_all(whole.steps[0].inputs, scope)
    assert made.tree == {"w": text, "m": f"<{text}>", "e": [text]}
    assert materialize(Reference(("inputs", "x")), Scope(text)).holes[0][1].data == json_bytes(text)


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)


@st.composite
def workflows(draw):
    """A valid workflow as a mapping: steps refer to steps before them and to inputs."""
    inputs = draw(st.lists(NAMES, max_size=3, unique=True))
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    steps = []
    for number, name in enumerate(names):
        before = names[:number]
        references = [f"steps.{b}.outputs.k" for b in before] + [f"inputs.{i}" for i in inputs] + ["run.id", "context.c"]
        value = st.recursive(
            st.booleans() | st.integers() | st.text(alphabet="ab {}'", max_size=5).filter(lambda t: "{{" not in t)
            | st.sampled_from(references).map(lambda r: f"{{{{ {r} }}}}")
            | st.sampled_from(references).map(lambda r: f"x {{{{ size({r}) + 1 }}}}"),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
            max_leaves=4,
        )  # fmt: skip
        step = {"name": name, **draw(st.sampled_from([{"tool": "t@1.0"}, {"tool": "m:f"}]))}
        step["inputs"] = draw(st.dictionaries(NAMES, value, max_size=3))
        if draw(st.booleans()):
            step["needs"] = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        step |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "if": st.sampled_from(references).map(lambda r: f"{r} == 1 && always()"),
                    "foreach": st.sampled_from(references),
                    "timeout": st.integers(1, 99),
                    "retry": st.fixed_dictionaries({"max_attempts": st.integers(1, 9)}),
                    "on_error": st.sampled_from(["fail", "continue"]),
                    "env": st.dictionaries(st.just("A"), st.sampled_from(references).map(lambda r: f"{{{{ {r} }}}}")),
                    "outputs": st.just(["k"]),
                },
            )
        )
        steps.append(step)
    return {"id": "w", "inputs": {i: {} for i in inputs}, "steps": steps}


@given(workflows())
@settings(max_examples=80)
def test_valid_workflows_load_and_round_trip_through_the_journal(data):
    workflow = load_mapping(data)
    assert from_json(Workflow, json.loads(json.dumps(to_json(workflow)))) == workflow
    done = set()
    for step in workflow.steps:
        assert set(step.needs) <= done
        done.add(step.name)
    as_text = load_text(json.dumps(data))
    assert to_json(as_text) == to_json(workflow)


@given(st.text(max_size=30) | st.floats() | st.integers() | st.none())
def test_small_forms_are_values_or_value_errors(data):
    for parse in (parse_duration, parse_size):
        try:
            parse(data)
        except ValueError:
            pass
    if isinstance(data, str):
        try:
            assert parse_tool(data).text == data.strip()
        except DefinitionError:
            pass
