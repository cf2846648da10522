"""JSON as people and programs hand it in: strict, where Python's reader is lenient.

Owns the reading of such texts. A key that is there twice is refused, as it is in YAML: one of the two values would be lost
without a word.
"""

from __future__ import annotations

import json
from typing import cast

from shoal.model.values import Json


class RepeatedKeyError(ValueError):
    """A JSON object has a key twice."""

    def __init__(self, key: str) -> None:
        """Name the key."""
        super().__init__(f"the key {key[:80]!r} is there twice in one object")


def parse_json(text: str, *, constants: bool = False) -> Json:
    """Return the value of a JSON text.

    Args:
        text: The text.
        constants: Whether `NaN` and `Infinity` are read, for a caller that refuses them in words of its own.

    Raises:
        RepeatedKeyError: An object in it has a key twice.
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    return cast("Json", json.loads(text, object_pairs_hook=_object, parse_constant=float if constants else _refuse_constant))


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise RepeatedKeyError(key)
        found[key] = value
    return found


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
