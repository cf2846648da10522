"""The JSON Schema for editors agrees with the validator."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from shoal.errors import DefinitionError
from shoal.language import _keys
from shoal.language._document import parse, to_json
from shoal.language._problems import Problems
from shoal.language.loading import load_mapping
from shoal.language.schema import schema

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "language.md"
CHECK = Draft202012Validator(schema())
FULL = """
id: full
name: Full
description: Everything at once
version: "1.0"
inputs:
  - {name: a, type: string, default: x, description: d, minLength: 1}
  - {name: b, type: [integer, "null"], required: false}
defaults: {retry: {max_attempts: 2}, timeout: 1m, env: {A: b}, resources: {cpus: 1}, isolation: task}
timeout: 1h
max_parallel: 4
steps:
  - name: s
    tool: t@1
    if: inputs.a == 'x'
    foreach: [1, 2]
    concurrency: 2
    needs: []
    inputs: [{name: k, value: [1, {x: "{{ item }}"}]}]
    outputs: [r, q]
    env: {A: 1}
    requirements: [x]
    isolation: pool
    resources: {cpus: 1, gpus: 0, memory: 1GiB, custom: {t: 1}}
    retry: {max_attempts: 3, initial: 1s, max: 60, multiplier: 2, jitter: true, on: any}
    timeout: 3
    deadline: 1h
    on_error: continue
    checkpoint: false
  - {name: w, wait: {signal: go, timeout: 1d}, if: true, outputs: {r: null, q: {description: d}}}
  - {name: z, sleep: 3}
outputs: {r: "{{ steps.s.outputs.r }}"}
finally: [{name: f, tool: t, outputs: [{name: x}], env_vars: [{name: P, value: q}]}]
"""


def full():
    return to_json(parse(FULL, "f", Problems()))


def test_schema_is_a_schema_and_takes_what_the_validator_takes():
    Draft202012Validator.check_schema(schema())
    load_mapping(full())
    assert list(CHECK.iter_errors(full())) == []


def places(node, path=()):
    """Every mapping of the full example that a table describes."""
    yield path
    for key, value in node.items():
        if key in {"defaults", "retry", "resources", "wait"}:
            yield from places(value, (*path, key))
        if key in {"steps", "finally", "inputs"} and isinstance(value, list) and (key != "inputs" or not path):
            for i, item in enumerate(value):
                yield from places(item, (*path, key, i))


@pytest.mark.parametrize("path", list(places(full())), ids=str)
def test_unknown_keys_are_refused_by_both(path):
    data = full()
    node = data
    for key in path:
        node = node[key]
    node["unheard-of"] = 1
    assert list(CHECK.iter_errors(data))
    with pytest.raises(DefinitionError, match="unheard-of"):
        load_mapping(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "Not Kebab"), (("id",), "runs"), (("id",), 3), (("steps",), []), (("steps",), {}), (("timeout",), []), (("max_parallel",), 0),
        (("steps", 0, "name"), "a b"), (("steps", 0, "tool"), 3), (("steps", 0, "needs"), "a"), (("steps", 0, "concurrency"), 0),
        (("steps", 0, "on_error"), "ignore"), (("steps", 0, "checkpoint"), "no"), (("steps", 0, "isolation"), "vm"), (("steps", 0, "sleep"), 1),
        (("steps", 0, "retry", "max_attempts"), 0), (("steps", 0, "retry", "multiplier"), 0.5), (("steps", 0, "resources", "cpus"), -1),
        (("steps", 1, "env"), {"A": "b"}), (("steps", 1, "wait"), "go"), (("steps", 0, "env"), {"A": None}), (("steps", 0, "inputs"), 3),
        (("inputs", 0, "required"), "yes"), (("steps", 0, "outputs"), ["a b"]), (("queue",), "q"), (("steps", 0, "requirements"), "x"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_by_both(path, value):
    data = full()
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert list(CHECK.iter_errors(data)), "the schema takes it"
    with pytest.raises(DefinitionError):
        load_mapping(data)


def test_every_key_is_described_and_in_the_reference():
    text = PAGE.read_text()
    for table in (_keys.WORKFLOW, _keys.STEP, _keys.DEFAULTS, _keys.RETRY, _keys.RESOURCES, _keys.WAIT, _keys.INPUT):
        for key, spec in table.items():
            assert spec.description.endswith((".", ")."))
            assert f"`{key}`" in text, key
