"""Templates to arguments and values.

Owns what a template means on the values of a run. A whole reference hands its value on without looking inside; an expression,
a key below a reference and a text with parts look inside, and that is bounded. A result is a value: whatever it looks like,
it is never read as a template, an expression or JSON.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar, assert_never, cast

from shoal.errors import ExpressionError
from shoal.language import _cel
from shoal.model.encoding import json_bytes
from shoal.model.values import Arguments, Hole, Json, SecretName, SecretText, Value
from shoal.model.workflow import (
    Condition,
    Constant,
    Expression,
    ListOf,
    MapOf,
    Recorded,
    Reference,
    Template,
    Text,
)

MAX_INPUT: Final = 1024 * 1024
"""Bytes of JSON that one expression takes in."""
MAX_ITEMS: Final = 100_000
"""Items of a `foreach`."""
MAX_TEXT: Final = 16 * 1024 * 1024
"""Characters of a text made of parts."""

Found = Constant | Value | SecretText
Path = tuple[str | int, ...]
T = TypeVar("T")


class Scope(Protocol):
    """What references stand for, in one run at one moment.

    Attributes:
        failed: Whether the run has a failed step.
    """

    @property
    def failed(self) -> bool:
        """Whether the run has a failed step."""
        ...

    def get(self, root: tuple[str, ...]) -> Found:
        """Return what a `Reference.root` stands for; for an output of a skipped step `Constant(None)`.

        Raises:
            ExpressionError: There is no such output.
        """
        ...

    def items(self, value: Value) -> Sequence[Value]:
        """Return the values that a manifest lists, none of them decoded."""
        ...

    def load(self, value: Value) -> Json:
        """Return a value's JSON.

        Raises:
            ExpressionError: It is a Python object, or too large to be looked into.
        """
        ...


def materialize(template: Template, scope: Scope) -> Arguments:
    """Return a template's value with holes: whole references keep their value, secrets their name.

    Raises:
        ExpressionError: An expression or a key cannot be evaluated on these values.
    """
    holes: list[tuple[Path, Hole]] = []
    tree = _fill(template, scope, (), holes)
    return Arguments(tree, tuple(holes))


def materialize_all(entries: Iterable[tuple[str, Template]], scope: Scope) -> Arguments:
    """Return named templates as one mapping, as `materialize` does."""
    return materialize(MapOf(tuple(entries)), scope)


def evaluate(template: Template, scope: Scope) -> Json:
    """Return a template's value as JSON.

    Raises:
        ExpressionError: It cannot be evaluated on these values, or holds a secret or a Python object.
    """

    def read(hole: Hole) -> Json:
        if isinstance(hole, SecretText):
            raise ExpressionError("a secret cannot be looked into; it is only handed on to a tool")
        return scope.load(hole)

    match template:
        case Constant():
            return template.value
        case Expression():
            return _compute(template, scope)
        case ListOf():
            return [evaluate(item, scope) for item in template.items]
        case MapOf():
            return {key: evaluate(value, scope) for key, value in template.entries}
        case Reference() | Recorded():
            found = _resolve(template, scope)
            return found.value if isinstance(found, Constant) else _named(template, lambda: read(found))
        case Text():
            made = _join(template, scope)
            return read(made) if isinstance(made, SecretText) else made
        case _:
            assert_never(template)


def evaluate_condition(condition: Condition, scope: Scope) -> bool:
    """Return whether a step's `if` holds.

    Raises:
        ExpressionError: It cannot be evaluated, or is neither true nor false.
    """
    result = evaluate(condition.expression, scope)
    if isinstance(result, bool):
        return result
    text = "" if isinstance(condition.expression, Constant) else condition.expression.text
    raise ExpressionError(
        f"`if: {_shorten(text)}` must be true or false; it is {_cel.kind_of(result)}",
        expression=text,
        hint="compare it: ... == 'yes', ... > 0, size(...) > 0",
    )


def evaluate_items(template: Template, scope: Scope) -> Sequence[Constant | Value]:
    """Return the items of a `foreach`. Items of a manifest are not decoded.

    Raises:
        ExpressionError: It is no list, or has more than `MAX_ITEMS` items.
    """
    if isinstance(template, (Reference, Recorded)):
        found = _resolve(template, scope)
        if isinstance(found, Value) and found.codec == "manifest":
            entries = scope.items(found)
            _check_count(len(entries), template)
            return [_item(entry) for entry in entries]
    if isinstance(template, ListOf):
        _check_count(len(template.items), template)
    result = evaluate(template, scope)
    if not isinstance(result, list):
        text = _text_of(template)
        raise ExpressionError(
            f"`foreach: {_shorten(text)}` must be a list; it is {_cel.kind_of(result)}",
            expression=text,
            hint="a skipped step's outputs are null; write `if` as well" if result is None else None,
        )
    _check_count(len(result), template)
    return [Constant(item) for item in result]


def _item(value: Value) -> Constant | Value:
    return Constant(None) if value.codec == "json" and value.data == b"null" else value


def _check_count(count: int, template: Template) -> None:
    if count > MAX_ITEMS:
        text = _text_of(template)
        raise ExpressionError(
            f"`foreach: {_shorten(text)}` has {count:,} items; {MAX_ITEMS:,} are the most",
            expression=text,
            hint="let an item be a batch",
        )


# ---------------------------------------------------------------- parts


def _fill(template: Template, scope: Scope, path: Path, holes: list[tuple[Path, Hole]]) -> Json:
    """Return a template's tree; what is no plain JSON goes to `holes`, and null stands for it."""
    match template:
        case Constant():
            return template.value
        case Expression():
            return _compute(template, scope)
        case ListOf():
            return [_fill(item, scope, (*path, i), holes) for i, item in enumerate(template.items)]
        case MapOf():
            return {key: _fill(value, scope, (*path, key), holes) for key, value in template.entries}
        case Reference() | Recorded():
            found = _resolve(template, scope)
            if isinstance(found, Constant):
                return found.value
            holes.append((path, found))
            return None
        case Text():
            made = _join(template, scope)
            if isinstance(made, SecretText):
                holes.append((path, made))
                return None
            return made
        case _:
            assert_never(template)


def _resolve(template: Reference | Recorded, scope: Scope) -> Found:
    """Return what a reference or a recorded value stands for; looks inside only below a reference's root."""
    if isinstance(template, Recorded):
        return template.value
    found = _named(template, lambda: scope.get(template.root))
    if not template.rest:
        return found
    if isinstance(found, SecretText):
        raise ExpressionError(f"{template.text}: a secret cannot be looked into", expression=template.text)
    if isinstance(found, Constant):
        node = found.value
        if node is None and template.root[0] == "steps":
            return found  # a reference into a skipped step is null
    else:
        node = _named(template, lambda: scope.load(found))
    return Constant(_walk(node, template))


def _walk(node: Json, reference: Reference) -> Json:
    for done, key in enumerate(reference.rest):
        where = ".".join([*reference.root, *map(str, reference.rest[:done])])
        if isinstance(node, dict) and isinstance(key, str):
            if key not in node:
                raise _absent(reference, f"{where} has no key {key!r}", _keys(node))
            node = node[key]
        elif isinstance(node, list) and isinstance(key, int):
            if key >= len(node):
                raise _absent(reference, f"{where} has no item {key}", f"it has {len(node)}, counted from 0")
            node = node[key]
        else:
            kind = "an index" if isinstance(key, int) else "a key"
            raise _absent(reference, f"{where} is {_cel.kind_of(node)}; {kind} such as {key!r} has no meaning there", None)
    return node


def _keys(node: dict[str, Json]) -> str:
    keys = [key[:60] for key in list(node)[:10]]
    more = f" and {len(node) - len(keys)} more" if len(node) > len(keys) else ""
    return f"there is {', '.join(keys)}{more}" if keys else "it is empty"


def _absent(reference: Reference, message: str, hint: str | None) -> ExpressionError:
    return ExpressionError(f"{reference.text}: {message}", expression=reference.text, hint=hint)


def _named(template: Reference | Recorded, read: Callable[[], T]) -> T:
    """Return what `read` returns; an error of it names the reference."""
    try:
        return read()
    except ExpressionError as error:
        if isinstance(template, Recorded) or error.expression:
            raise
        message = f"{_subject(template)}: {error.message}"
        raise ExpressionError(message, expression=template.text, hint=error.hint) from error


def _subject(reference: Reference) -> str:
    match reference.root:
        case ("steps", step, "outputs", key):
            return f"{reference.text} (output {key!r} of step {step!r})"
        case _:
            return reference.text


def _join(template: Text, scope: Scope) -> str | SecretText:
    """Return a text of parts: texts as they are, anything else as compact JSON (so null is `null`)."""
    parts: list[object] = []
    for part in template.parts:
        if isinstance(part, Reference) and not part.rest:
            found = _resolve(part, scope)
            if isinstance(found, SecretText):
                parts += found.parts
                continue
            value = found.value if isinstance(found, Constant) else _named(part, functools.partial(scope.load, found))
        else:
            value = evaluate(part, scope)
        parts.append(value if isinstance(value, str) else json_bytes(value).decode("utf-8", "surrogatepass"))
    if sum(len(part) for part in parts if isinstance(part, str)) > MAX_TEXT:
        raise ExpressionError(f"a text made of parts has more than {MAX_TEXT:,} characters")
    if all(isinstance(part, str) for part in parts):
        return "".join(cast("list[str]", parts))
    merged: list[str | SecretName] = []
    for part in cast("list[str | SecretName]", parts):
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part:
            merged.append(part)
    return SecretText(tuple(merged))


def _compute(expression: Expression, scope: Scope) -> Json:
    """Carry out an expression. A reference that has no value is an error only if the expression comes to it."""
    variables: dict[str, object] = {"_failed": scope.failed}
    errors: dict[str, ExpressionError] = {}
    taken = 0
    for number, reference in enumerate(expression.references):
        name = f"_{number}"
        try:
            value, size = _operand(reference, scope)
        except ExpressionError as error:
            errors[name] = error
            continue
        taken += size
        if taken > MAX_INPUT:
            raise ExpressionError(
                f"{_shorten(expression.text)}: its values have more than 1 MiB of JSON",
                expression=expression.text,
                hint="hand them to a tool whole",
            )
        variables[name] = value
    try:
        return _cel.Evaluation().run(_cel.compile_source(expression.source), variables)
    except _cel.CelError as error:
        if error.missing in errors:
            raise errors[error.missing] from error
        raise ExpressionError(
            f"{_shorten(expression.text)}: {error.message}", expression=expression.text, hint=error.hint
        ) from error


def _operand(reference: Reference, scope: Scope) -> tuple[Json, int]:
    """Return a reference's JSON and its size, checked to be what CEL can hold."""
    found = _resolve(reference, scope)
    if isinstance(found, SecretText):
        raise ExpressionError(f"{reference.text}: a secret cannot be computed with", expression=reference.text)
    value = found.value if isinstance(found, Constant) else _named(reference, lambda: scope.load(found))
    wrong = _cel.unfit(value)
    if wrong:
        raise ExpressionError(f"{reference.text}: {wrong}", expression=reference.text, hint="hand it on whole")
    return value, found.size if isinstance(found, Value) and found.codec == "json" else len(json_bytes(value))


def _text_of(template: Template) -> str:
    return template.text if isinstance(template, (Reference, Expression)) else ""


def _shorten(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."  # noqa: PLR2004 - a line of a message
