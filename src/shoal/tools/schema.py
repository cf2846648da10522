"""JSON Schemas and checks of tool inputs, made by pydantic from annotations. Loads pydantic: import it late."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError

from shoal.model.values import Json


def _adapter(annotation: object) -> TypeAdapter[Any] | None:
    for config in (None, ConfigDict(arbitrary_types_allowed=True)):
        try:
            return TypeAdapter[Any](cast("Any", annotation), config=config)
        except (PydanticUserError, TypeError, NameError):
            continue
    return None


def checker(annotation: object) -> Callable[[Any], Any] | None:
    """Return what checks and converts a value to an annotation; None where pydantic does not know the type.

    The check is pydantic's lax mode: `"3"` becomes 3 for `int`, and `"abc"` is refused.
    """
    adapter = _adapter(annotation)
    return None if adapter is None else adapter.validate_python


def schema_of(function: Callable[..., Any]) -> dict[str, Json]:
    """Return the JSON Schema of a function's inputs: an object with a property for each parameter but the context."""
    from shoal.tools.signature import hints_of, signature_of

    takes = signature_of(function)
    hints = hints_of(function)
    parameters = inspect.signature(function).parameters
    if takes.model is not None:
        adapter = _adapter(hints[takes.model])
        return cast("dict[str, Json]", adapter.json_schema()) if adapter else {"type": "object"}
    properties: dict[str, Json] = {}
    definitions: dict[str, Json] = {}
    for name in takes.names:
        schema = _property(hints.get(name, inspect.Parameter.empty))
        definitions.update(cast("dict[str, Json]", schema.pop("$defs", {})))
        default = parameters[name].default
        if default is None or type(default) in (bool, int, float, str):
            schema["default"] = default
        properties[name] = schema
    out: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": takes.open}
    if takes.required:
        out["required"] = list(takes.required)
    if definitions:
        out["$defs"] = definitions
    return out


def _property(annotation: object) -> dict[str, Json]:
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return {}
    adapter = _adapter(annotation)
    try:
        return cast("dict[str, Json]", adapter.json_schema()) if adapter else {}
    except PydanticUserError:  # a type without a JSON form, such as a class of the author's
        return {}
