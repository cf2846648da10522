"""The language as a JSON Schema (2020-12), for editors.

Made from the table of keys that the validator reads, so that both refuse the same keys and types. References, cycles, forms of
text and the like are beyond a schema: the validator alone knows them.
"""

from __future__ import annotations

from typing import Any, Final

from shoal.language._keys import (
    ACTIONS,
    DEFAULTS,
    INPUT,
    KEYS_OF_ACTION,
    NAME_PATTERN,
    NAMED_VALUE,
    OUTPUT_NAME,
    RESERVED_IDS,
    RESOURCES,
    RETRY,
    SCHEMA_WORDS,
    STEP,
    WAIT,
    WORKFLOW,
    Table,
)

_TEXT_VALUES: Final = {"type": ["string", "number", "boolean"]}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow file."""
    words: dict[str, Any] = {word: {} for word in sorted(SCHEMA_WORDS)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Shoal workflow",
        **_object(WORKFLOW),
        "not": {"properties": {"id": {"enum": sorted(RESERVED_IDS)}}, "required": ["id"]},
        "$defs": {
            "step": {**_object(STEP), "oneOf": [_action(kind) for kind in ACTIONS]},
            "retry": _object(RETRY),
            "resources": _object(RESOURCES),
            "wait": _object(WAIT),
            "defaults": _object(DEFAULTS),
            "input": _object(INPUT, words),
            "input_specs": {
                "type": ["object", "array", "null"],
                "propertyNames": {"pattern": NAME_PATTERN},
                "additionalProperties": {"anyOf": [{"$ref": "#/$defs/input"}, {"type": "null"}]},
                "items": {"allOf": [{"$ref": "#/$defs/input"}, {"required": ["name"]}]},
            },
            "values": _named({}, {**_object(NAMED_VALUE), "required": ["name", "value"]}),
            "env": _named(_TEXT_VALUES, {**_object(NAMED_VALUE), "required": ["name", "value"]}),
            "outputs": _named({}, _object(NAMED_VALUE)),
            "output_names": {
                "type": ["object", "array", "null"],
                "additionalProperties": {"anyOf": [_object(OUTPUT_NAME), {"type": "null"}]},
                "items": {
                    "anyOf": [
                        {"type": "string", "pattern": NAME_PATTERN},
                        {**_object(OUTPUT_NAME), "required": ["name"]},
                    ]
                },
            },
        },
    }


def _object(table: Table, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a mapping whose keys a table lists."""
    made: dict[str, Any] = {
        "type": "object",
        "properties": {key: {**spec.schema, "description": spec.description} for key, spec in table.items()} | (more or {}),
        "additionalProperties": False,
    }
    required = [key for key, spec in table.items() if spec.required]
    return {**made, "required": required} if required else made


def _action(kind: str) -> dict[str, Any]:
    """Return the schema of what one kind of step must and must not have."""
    strange = sorted(set(STEP) - KEYS_OF_ACTION[kind])
    return {"title": f"{kind} step", "required": [kind], "properties": dict.fromkeys(strange, False)}


def _named(value: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of `{name: value}` or `[{name, value}]`."""
    return {"type": ["object", "array", "null"], "additionalProperties": value, "items": entry}
