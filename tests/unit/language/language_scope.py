"""A scope made of a mapping, and a loader of steps."""

from __future__ import annotations

import pytest

from shoal.errors import DefinitionError, ExpressionError
from shoal.language.loading import load_text
from shoal.model.encoding import decode, json_bytes, listed
from shoal.model.values import SecretName, SecretText, Value
from shoal.model.workflow import Constant


def value(data) -> Value:
    raw = json_bytes(data)
    return Value("json", len(raw), data=raw)


class MappingScope:
    """References answered from a mapping; counts what is looked into."""

    def __init__(self, found=None, *, failed=False):
        self.found = found or {}
        self.failed = failed
        self.loaded = []

    def get(self, root):
        if root[0] == "secrets":
            return SecretText((SecretName(root[1]),))
        if root not in self.found:
            raise ExpressionError(f"nothing is known of {root}")
        return self.found[root]

    def items(self, wanted):
        return listed(wanted, lambda digest: b"")

    def load(self, wanted):
        self.loaded.append(wanted)
        return decode(wanted, lambda digest: b"", trusted=False)


@pytest.fixture
def scope():
    return MappingScope(
        {
            ("inputs", "n"): value(5),
            ("inputs", "xs"): value([1, 2, 3, 4]),
            ("inputs", "o"): value({"b-c": [1], "s": "{{ secrets.K }}", "e": {}}),
            ("inputs", "t"): value("text"),
            ("context",): Constant({"user": "ann"}),
            ("run", "id"): Constant("r1"),
            ("steps", "skipped", "outputs", "k"): Constant(None),
            ("steps", "py", "outputs", "k"): Value("pickle", 3, data=b"abc", type_name="m.T"),
        }
    )


def step(body: str, *, inputs: str = "{n: {}, xs: {}, o: {}, t: {}}"):
    """Return the last step of a workflow with a step `skipped`, a step `py` and the given step."""
    text = f"id: a\ninputs: {inputs}\nsteps:\n- {{name: skipped, tool: t}}\n- {{name: py, tool: t}}\n- {body}\n"
    return load_text(text).steps[-1]


def template(expression: str):
    """Return the template of the text of one input."""
    import json

    return step(f"{{name: s, tool: t, inputs: {{a: {json.dumps(expression)}}}}}").inputs[0][1]


def problems(text: str):
    """Return (line, column, message, hint) of what is wrong with a text."""
    with pytest.raises(DefinitionError) as caught:
        load_text(text, file="w.yaml")
    assert all(p.file == "w.yaml" for p in caught.value.problems)
    return [(p.line, p.column, p.message, p.hint or "") for p in caught.value.problems]
