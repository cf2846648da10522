"""Declared inputs: from their nodes to specifications with a JSON Schema."""

from __future__ import annotations

from typing import Final, cast

from shoal.language._document import Mapping, Node, Scalar, Sequence, describe, to_json
from shoal.language._fields import Fields, check_name
from shoal.language._keys import INPUT, SCHEMA_WORDS, TYPES, Key, Table
from shoal.language._problems import Mark, Problems, suggest
from shoal.language.inputs import schema_problem, value_problem
from shoal.model.values import Json
from shoal.model.workflow import InputSpec

_TABLE: Final[Table] = {**INPUT, **{word: Key("A word of JSON Schema.") for word in sorted(SCHEMA_WORDS)}}
_REFUSED: Final = ("$ref", "$dynamicRef", "$id", "$schema", "$anchor", "$dynamicAnchor", "$recursiveRef")


def read_inputs(node: Node | None, problems: Problems) -> tuple[InputSpec, ...]:
    """Return the inputs that a workflow declares, in the mapping or the list form."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return ()
    found: list[InputSpec] = []
    if isinstance(node, Mapping):
        for name, (mark, value) in node.entries.items():
            empty = isinstance(value, Scalar) and value.value is None
            fields = Fields.of(Mapping({}, mark) if empty else value, f"input {name!r}", _TABLE, problems)
            if fields is not None:
                found += _read(fields, name, mark, problems)
        return tuple(found)
    if not isinstance(node, Sequence):
        problems.add(node.mark, f"`inputs` must be a mapping or a list of {{name, type, ...}}, not {describe(node)}")
        return ()
    for item in node.items:
        fields = Fields.of(item, "an input", _TABLE, problems)
        if fields is None:
            continue
        name = fields.text("name")
        if "name" not in fields:
            problems.add(item.mark, "an input needs the key 'name'")
        if name is None:
            continue
        if any(spec.name == name for spec in found):
            problems.add(fields.mark("name"), f"two inputs are called {name!r}")
            continue
        found += _read(fields, name, fields.mark("name"), problems)
    return tuple(found)


def _read(fields: Fields, name: str, mark: Mark, problems: Problems) -> list[InputSpec]:
    if not check_name(name, "an input", mark, problems):
        return []
    schema = _schema(fields, problems)
    has_default = "default" in fields
    default = to_json(cast("Node", fields.get("default"))) if has_default else None
    required = fields.boolean("required", default=not has_default)
    if required and has_default:
        problems.add(fields.mark("required"), f"input {name!r} is required and has a default", "leave one of them out")
    if schema is not None and has_default:
        wrong = value_problem(default, schema)
        if wrong:
            problems.add(cast("Node", fields.get("default")).mark, f"the default of input {name!r} does not fit: {wrong}")
    return [InputSpec(name, schema or {}, required and not has_default, default, fields.text("description") or "")]


def _schema(fields: Fields, problems: Problems) -> dict[str, Json] | None:
    """Return the JSON Schema of an input; None if it is wrong."""
    schema: dict[str, Json] = {}
    for key, (mark, node) in fields.node.entries.items():
        if key == "type":
            _check_type(node, problems)
        elif key not in SCHEMA_WORDS:
            continue
        value = to_json(node)
        refused = _find_refused(value)
        if refused:
            problems.add(mark, f"{refused!r} is not allowed in the schema of an input", "write the schema out")
            return None
        schema[key] = value
    if not schema:
        return schema
    wrong = schema_problem(schema)
    if wrong:
        if "type" not in wrong:
            problems.add(fields.node.mark, f"this is not a JSON Schema: {wrong}")
        return None
    return schema


def _check_type(node: Node, problems: Problems) -> None:
    names = node.items if isinstance(node, Sequence) else [node]
    for item in names:
        if not isinstance(item, Scalar) or item.value not in TYPES:
            word = item.value if isinstance(item, Scalar) and isinstance(item.value, str) else ""
            near = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
            hint = f"did you mean {near[word]!r}?" if word in near else suggest(word, TYPES)
            problems.add(item.mark, f"`type` must be one of {', '.join(TYPES)}, not {describe(item)}", hint)


def _find_refused(value: Json) -> str | None:
    stack: list[Json] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            for word in _REFUSED:
                if word in node:
                    return word
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return None
