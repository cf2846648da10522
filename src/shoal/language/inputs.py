"""The inputs of a run: checked against what its workflow declares.

`jsonschema` is imported only where a schema says more than `type`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from shoal.errors import InvalidInputError, Problem
from shoal.language._cel import CelError, search
from shoal.language._problems import suggest
from shoal.language.json_text import RepeatedKeyError, parse_json
from shoal.model.encoding import is_exact_json
from shoal.model.values import Json
from shoal.model.workflow import InputSpec, Workflow

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,), "number": (int, float), "integer": (int,), "boolean": (bool,), "object": (dict,), "array": (list,),
    "null": (type(None),),
}  # fmt: skip


def check_inputs(workflow: Workflow, given: Mapping[str, Json]) -> dict[str, Json]:
    """Return the inputs of a run in the order of their declaration, defaults filled in.

    Raises:
        InvalidInputError: Some are missing, unknown or do not fit; every one of them is named.
    """
    problems: list[Problem] = []
    names = [spec.name for spec in workflow.inputs]
    for name in given:
        if name not in names:
            hint = suggest(name, names) if names else "the workflow declares no inputs"
            problems.append(Problem(f"workflow {workflow.id!r} has no input {name!r}", hint=hint))
    found: dict[str, Json] = {}
    for spec in workflow.inputs:
        if spec.name in given:
            value = found[spec.name] = given[spec.name]
            left_out = value is None and not spec.required and spec.default is None
            wrong = None if left_out else value_problem(value, spec.schema)
            if not is_exact_json(value):
                wrong = "it holds what JSON has not (an infinite number, or text that is not Unicode)"
            if wrong:
                problems.append(Problem(f"input {spec.name!r} does not fit: {wrong}", hint=spec.description or None))
        elif spec.required:
            problems.append(Problem(f"input {spec.name!r} is missing", hint=_how_to_give(spec)))
        else:
            found[spec.name] = spec.default
    if problems:
        raise InvalidInputError("\n".join(str(p) for p in problems), problems=tuple(problems))
    return found


def _how_to_give(spec: InputSpec) -> str:
    kind = spec.schema.get("type")
    what = f" ({kind})" if isinstance(kind, str) else ""
    return f"give it with -i {spec.name}=...{what}" + (f": {spec.description}" if spec.description else "")


def parse_assignment(workflow: Workflow, text: str) -> tuple[str, Json]:
    """Return name and value of `NAME=VALUE`: parsed as JSON if it is JSON and the declared type is not `string`.

    Raises:
        InvalidInputError: There is no `=`, no such input, a JSON object with a key twice, or bytes that are no UTF-8.
    """
    _refuse_other_bytes(text)
    name, separator, value = text.partition("=")
    name = name.strip()
    if not separator or not name:
        raise _refusal(f"{text[:80]!r} assigns nothing", "write -i name=value")
    spec = next((s for s in workflow.inputs if s.name == name), None)
    if spec is None:
        names = [s.name for s in workflow.inputs]
        hint = suggest(name, names) if names else "the workflow declares no inputs"
        raise _refusal(f"workflow {workflow.id!r} has no input {name!r}", hint)
    if spec.schema.get("type") == "string":
        return name, value
    try:
        return name, parse_json(value)
    except RepeatedKeyError as error:
        raise _refusal(f"input {name!r}: {error}", "keep one of the two") from error
    except (ValueError, RecursionError):
        return name, value


def _refuse_other_bytes(text: str) -> None:
    """Refuse an argument that was no UTF-8: Python hands its bytes on as characters that no text has."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = text.partition("=")[0][:80].encode(errors="backslashreplace").decode()
        raise _refusal(
            f"-i {shown}=...: it is not UTF-8 text (at character {error.start + 1})",
            "convert it to UTF-8; what is no text goes into a file that a tool reads",
        ) from error


def _refusal(message: str, hint: str | None) -> InvalidInputError:
    return InvalidInputError(message, hint=hint, problems=(Problem(message, hint=hint),))


def value_problem(value: Json, schema: Mapping[str, Json]) -> str | None:
    """Return what about a value does not fit a schema, or None."""
    kinds = schema.get("type")
    if kinds is not None:
        allowed = cast("list[str]", kinds if isinstance(kinds, list) else [kinds])
        if not any(_is_of(value, kind) for kind in allowed):
            return f"it must be of type {' or '.join(allowed)}, not {_type_of(value)}"
    if not set(schema) - {"type", "title", "examples", "format"}:
        return None
    errors = sorted(_validator()(dict(schema)).iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportUnknownArgumentType]
    if not errors:
        return None
    first: Any = errors[0]
    place = "".join(f"[{p!r}]" for p in first.absolute_path)
    return (f"at {place}: " if place else "") + str(first.message)[:300]


@functools.cache
def _validator() -> Any:
    """Return a validator whose patterns cost time linear in the text; those of `re` can be made to run for ever."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]

    def pattern(_validator: Any, wanted: str, instance: object, _schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not search(wanted, instance):
            yield ValidationError(f"it does not match {wanted!r}")

    return cast("Any", extend(Draft202012Validator, {"pattern": pattern}))  # pyright: ignore[reportUnknownArgumentType]


def schema_problem(schema: Mapping[str, Json]) -> str | None:
    """Return what is wrong with a JSON Schema, or None."""
    kinds = schema.get("type")
    if kinds is not None:
        names = kinds if isinstance(kinds, list) else [kinds]
        if not names or not all(isinstance(n, str) and n in _TYPES for n in names):
            return "its type"
    if not set(schema) - {"type"}:
        return None
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(dict(schema))
        _check_patterns(schema)
    except SchemaError as error:
        return str(error.message)[:300]
    except CelError as error:
        return error.message
    return None


def _check_patterns(schema: Json | Mapping[str, Json]) -> None:
    """Refuse patterns that cannot be matched in linear time, wherever they stand.

    Raises:
        CelError: One is no such pattern.
    """
    if isinstance(schema, list):
        for part in schema:
            _check_patterns(part)
    elif isinstance(schema, Mapping):
        if "patternProperties" in schema:
            raise CelError("'patternProperties' is not in this version")
        wanted = schema.get("pattern")
        if isinstance(wanted, str):
            search(wanted, "")
        for part in schema.values():
            _check_patterns(part)


def _is_of(value: Json, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float):
        return kind == "number" or (kind == "integer" and math.isfinite(value) and value.is_integer())
    return isinstance(value, _TYPES.get(kind, ()))


def _type_of(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    for kind in ("integer", "number", "string", "object", "array", "null"):
        if _is_of(value, kind):
            return kind
    return type(value).__name__
