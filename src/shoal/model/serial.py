"""Frozen dataclasses to JSON and back, by their type hints.

Owns the journal's and the wire's form of the model: an object with its fields, those that equal their default left out, plus
`kind` for the members of a union. Unknown fields are ignored when reading, so an older reader survives a newer writer. Types:
dataclasses, NewType, StrEnum, Literal, optional, unions of dataclasses told apart by their class variable `kind`, tuples,
lists, mappings, timedelta (seconds), datetime (ISO 8601), bytes (base64) and JSON itself. A field with metadata
`{"transient": True}` is never written. Values and arguments have the forms of `encoding`.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, Union, cast

from shoal.errors import ShoalError, error_from_json
from shoal.model.encoding import arguments_from_json, arguments_to_json, hole_from_json, value_from_json, value_to_json
from shoal.model.values import Arguments, Hole, SecretText, Value

T = TypeVar("T")
_Reader = Callable[[Any], Any]


def to_json(value: object) -> Any:  # noqa: C901, PLR0911 - one branch for each form of value there is
    """Return the JSON form of a model value."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (tuple, list, frozenset)):
        return [to_json(v) for v in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, ShoalError):
        return value.to_json()
    if isinstance(value, (Value, SecretText)):
        return value_to_json(value)
    if isinstance(value, Arguments):
        return arguments_to_json(value)
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{type(value).__qualname__} has no JSON form")
    out: dict[str, Any] = {}
    kind = getattr(type(value), "kind", None)
    if isinstance(kind, str):
        out["kind"] = kind
    for name, default, factory in _fields(type(value)):
        item = getattr(value, name)
        if item is default or item == default or (factory is not None and item == factory()):
            continue
        out[name] = to_json(item)
    return out


def from_json(cls: type[T], data: Any) -> T:
    """Return the model value of a class that `to_json` described.

    Raises:
        ValueError: The data do not have that form.
    """
    try:
        return cast("T", _reader(cls)(data))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the JSON form of {cls.__name__}: {error}") from error


_NO_DEFAULT = object()
_OWN_FORMS: dict[Any, _Reader] = {
    Value: value_from_json,
    Hole: hole_from_json,
    Arguments: arguments_from_json,
}


@functools.cache
def _fields(cls: type) -> list[tuple[str, object, Callable[[], object] | None]]:
    found: list[tuple[str, object, Callable[[], object] | None]] = []
    for f in dataclasses.fields(cls):
        if f.metadata.get("transient"):
            continue
        default = _NO_DEFAULT if f.default is dataclasses.MISSING else f.default
        found.append((f.name, default, None if f.default_factory is dataclasses.MISSING else f.default_factory))
    return found


@functools.cache
def _reader(hint: Any) -> _Reader:  # noqa: C901, PLR0911, PLR0912 - one branch for each form of type there is
    if hint is Any or hint is object:
        return _same
    if isinstance(hint, typing.NewType):
        return _same
    if hint in _OWN_FORMS:
        return _OWN_FORMS[hint]
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(hint))
    if origin is Literal:
        return _same
    if origin is tuple:
        args = typing.get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:  # noqa: PLR2004
            return _sequence(_reader(args[0]))
        return _pair(tuple(_reader(a) for a in args))
    if origin is list:
        inner = _reader(typing.get_args(hint)[0])
        return lambda data: [inner(v) for v in data]
    if origin is frozenset:
        inner = _reader(typing.get_args(hint)[0])
        return lambda data: frozenset(inner(v) for v in data)
    if origin is not None and issubclass(origin, Mapping):
        inner = _reader(typing.get_args(hint)[1])
        return lambda data: {k: inner(v) for k, v in data.items()}
    if hint in (str, int, bool, type(None)):
        return _same
    if hint is float:
        return float
    if hint is timedelta:
        return lambda data: timedelta(seconds=data)
    if hint is datetime:
        return datetime.fromisoformat
    if hint is bytes:
        return base64.b64decode
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    if isinstance(hint, type) and issubclass(hint, ShoalError):
        return error_from_json
    if isinstance(hint, type) and dataclasses.is_dataclass(cast("object", hint)):
        return _dataclass(hint)
    raise TypeError(f"no JSON form for {hint!r}")


def _same(data: Any) -> Any:
    return data


def _sequence(inner: _Reader) -> _Reader:
    return lambda data: tuple(inner(v) for v in data)


def _pair(inner: tuple[_Reader, ...]) -> _Reader:
    return lambda data: tuple(read(v) for read, v in zip(inner, data, strict=True))


def _union(members: tuple[Any, ...]) -> _Reader:
    by_kind: dict[str, Any] = {m.kind: m for m in members if _has_kind(m)}
    others = [m for m in members if m is not type(None) and not _has_kind(m)]

    def read(data: Any) -> Any:
        if data is None:
            return None
        kind = cast("dict[str, Any]", data).get("kind") if isinstance(data, dict) else None
        if kind in by_kind:
            return _reader(by_kind[kind])(data)
        return _reader(others[0])(data) if len(others) == 1 else _same(data)

    return read


def _has_kind(member: Any) -> bool:
    """Tell a class variable from a slot of that name, which an ordinary field leaves on its class."""
    return isinstance(getattr(member, "kind", None), str)


def _dataclass(cls: type) -> _Reader:
    hints = typing.get_type_hints(cls)
    names = [name for name, _, _ in _fields(cls)]
    readers: dict[str, _Reader] = {}  # filled on first use: classes may be recursive

    def read(data: Any) -> Any:
        if not readers:
            readers.update({name: _reader(hints[name]) for name in names})
        return cls(**{name: readers[name](data[name]) for name in names if name in data})

    return read
