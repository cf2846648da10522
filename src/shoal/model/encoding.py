"""Python objects to values and back.

Owns the choice of codec and the recorded form of results. A pickle is read only where the caller says that user code runs
(`trusted=True`): workers, the inline executor, a user's own program.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any, cast

from shoal.errors import ExpressionError, NonRetryableError
from shoal.model.ids import Digest
from shoal.model.values import INLINE_LIMIT, Arguments, Codec, Hole, Json, Result, SecretName, SecretText, Value

PutBlob = Callable[[bytes], Digest]
GetBlob = Callable[[Digest], bytes]


def is_exact_json(value: object) -> bool:
    """Return whether a Python object comes back from JSON equal and of the same types."""
    match value:
        case None | bool() | str() | int():
            return type(value) in (type(None), bool, str, int) and not (
                isinstance(value, str) and not value.isascii() and _has_surrogate(value)
            )
        case float():
            return type(value) is float and math.isfinite(value)
        case list():
            return type(cast("object", value)) is list and all(is_exact_json(v) for v in cast("list[object]", value))
        case dict():
            items = cast("dict[object, object]", value).items()
            return type(cast("object", value)) is dict and all(
                type(k) is str and is_exact_json(k) and is_exact_json(v) for k, v in items
            )
        case _:
            return False


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def json_bytes(value: Json) -> bytes:
    """Return the one JSON form of a value: compact UTF-8, keys in their order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def digest_of(data: bytes) -> Digest:
    """Return the content address of bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


def _dumps(value: object) -> bytes:
    return pickle.dumps(value, protocol=5)


def encode(value: object, put: PutBlob, *, limit: int = INLINE_LIMIT, dumps: Callable[[object], bytes] = _dumps) -> Value:
    """Return an object as a value: JSON if that round-trips exactly, else a pickle; above `limit` bytes as a blob.

    Args:
        value: Any picklable object.
        put: Writes a blob durably and returns its digest; called before this returns.
        limit: Bytes up to which the value stays inline.
        dumps: Writes what `pickle.loads` reads.

    Raises:
        NonRetryableError: The object can be neither.
    """
    try:
        exact = is_exact_json(value)
    except RecursionError:
        exact = False
    if exact:
        return _stored("json", json_bytes(cast("Json", value)), put, limit, "")
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        data = dumps(value)
    except NonRetryableError:
        raise
    except Exception as error:
        raise NonRetryableError(
            f"a value of type {name} can be neither JSON nor a pickle: {error}",
            hint="return plain data, or an object whose class is importable and picklable",
        ) from error
    return _stored("pickle", data, put, limit, name)


def _stored(codec: Codec, data: bytes, put: PutBlob, limit: int, type_name: str) -> Value:
    if len(data) <= limit:
        return Value(codec, len(data), data=data, type_name=type_name)
    return Value(codec, len(data), digest=put(data), type_name=type_name)


def encode_manifest(values: list[Value], put: PutBlob) -> Value:
    """Return the value that decodes to the list of what the given values decode to."""
    data = json_bytes([value_to_json(v) for v in values])
    return _stored("manifest", data, put, INLINE_LIMIT, "list")


def listed(value: Value, get: GetBlob) -> list[Value]:
    """Return the values that a manifest lists, none of them decoded."""
    data = value.data if value.data is not None else get(cast("Digest", value.digest))
    return [value_from_json(entry) for entry in json.loads(data)]


def decode(value: Value, get: GetBlob, *, trusted: bool) -> Any:
    """Return the object that a value stands for.

    Args:
        value: The value.
        get: Reads a blob.
        trusted: Whether user code runs here; only then is a pickle read.

    Raises:
        ExpressionError: The value is a pickle and the place is not trusted.
    """
    if value.codec == "pickle" and not trusted:
        raise ExpressionError(
            f"it is a Python object ({value.type_name}) that JSON does not hold exactly, which an expression cannot look into",
            hint="let the tool return JSON (a list for a set or a tuple, text for bytes), or hand the value on whole",
        )
    data = value.data if value.data is not None else get(cast("Digest", value.digest))
    if value.codec == "json":
        return json.loads(data)
    if value.codec == "manifest":
        return [decode(v, get, trusted=trusted) for v in listed(value, get)]
    return pickle.loads(data)  # noqa: S301 - the caller says that user code runs here


def show(value: Value, get: GetBlob, *, limit: int = INLINE_LIMIT) -> Json:
    """Return a value for people and wire, without unpickling: its JSON, or `{"$ref": digest, "type", "bytes"}`."""
    if value.codec != "pickle" and value.size <= limit:
        try:
            return cast("Json", decode(value, get, trusted=False))
        except ExpressionError:
            pass
    digest = value.digest or digest_of(value.data or b"")
    return {"$ref": digest, "type": value.type_name or "json", "bytes": value.size}


# ---------------------------------------------------------------- recorded forms


def value_to_json(value: Hole) -> dict[str, Any]:
    """Return the recorded form of a value: `{"v": json}`, `{"p": base64}`, `{"d": digest}`, `{"secret"}`."""
    if isinstance(value, SecretText):
        return {"secret": [p if isinstance(p, str) else {"name": p.name} for p in value.parts]}
    if value.digest is not None:
        return {"d": value.digest, "s": value.size, "c": value.codec, "t": value.type_name}
    data = value.data or b""
    if value.codec == "json":
        return {"v": json.loads(data)}
    return {"p": base64.b64encode(data).decode(), "c": value.codec, "t": value.type_name}


def hole_from_json(data: Mapping[str, Any]) -> Hole:
    """Return the value or the secret text that `value_to_json` described."""
    if "secret" in data:
        return SecretText(tuple(p if isinstance(p, str) else SecretName(p["name"]) for p in data["secret"]))
    return value_from_json(data)


def value_from_json(data: Mapping[str, Any]) -> Value:
    """Return the value that `value_to_json` described."""
    if "v" in data:
        raw = json_bytes(data["v"])
        return Value("json", len(raw), data=raw)
    if "p" in data:
        raw = base64.b64decode(data["p"])
        return Value(data["c"], len(raw), data=raw, type_name=data["t"])
    return Value(data["c"], data["s"], digest=Digest(data["d"]), type_name=data.get("t", ""))


def result_to_json(result: Result) -> dict[str, Any]:
    """Return the recorded form of a step's outputs."""
    return {key: value_to_json(value) for key, value in result.items()}


def result_from_json(data: Mapping[str, Any]) -> dict[str, Value]:
    """Return the outputs that `result_to_json` described."""
    return {key: value_from_json(value) for key, value in data.items()}


def arguments_to_json(arguments: Arguments) -> dict[str, Any]:
    """Return the recorded form of arguments."""
    return {"tree": arguments.tree, "holes": [[list(path), value_to_json(hole)] for path, hole in arguments.holes]}


def arguments_from_json(data: Mapping[str, Any]) -> Arguments:
    """Return the arguments that `arguments_to_json` described."""
    holes = tuple((tuple(path), hole_from_json(hole)) for path, hole in data.get("holes", ()))
    return Arguments(data["tree"], holes)


def fill(arguments: Arguments, read: Callable[[Hole], Any]) -> Any:
    """Return the tree of arguments with every hole filled by what `read` makes of it; the tree itself is not changed."""
    root: list[Any] = [json.loads(json_bytes(arguments.tree))]
    for path, hole in arguments.holes:
        node: Any = root
        full = (0, *path)
        for key in full[:-1]:
            node = node[key]
        node[full[-1]] = read(hole)
    return root[0]
