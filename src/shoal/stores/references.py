"""Which blobs a recorded thing names.

Owns the one walk over model values that finds digests; the journal keeps what it finds beside the rows, so that a sweep of
blobs asks one cheap question.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from shoal.model.encoding import value_from_json
from shoal.model.ids import Digest
from shoal.model.tools import LockedPackage, TaskCode, ToolLock
from shoal.model.values import Result, Value


def result_blobs(result: Result | None) -> Iterator[Digest]:
    """Yield the digests that the outputs of a step or run name."""
    for value in (result or {}).values():
        yield from value_blobs(value)


def value_blobs(value: Value) -> Iterator[Digest]:
    """Yield the digests that a value names; those inside an inline manifest too.

    What a manifest that is itself a blob lists is not looked up: the steps whose results it lists name them, in the same run.
    """
    if value.digest is not None:
        yield value.digest
    elif value.codec == "manifest":
        for entry in cast("list[dict[str, Any]]", json.loads(value.data or b"[]")):
            yield from value_blobs(value_from_json(entry))


def all_blobs(thing: object) -> Iterator[Digest]:
    """Yield every digest that a model value of any kind names (a spec, a scope, tool locks), however deep."""
    match thing:
        case Value():
            yield from value_blobs(thing)
        case Mapping():
            for part in cast("Mapping[object, object]", thing).values():
                yield from all_blobs(part)
        case list() | tuple() | frozenset():
            for part in cast("tuple[object, ...]", thing):
                yield from all_blobs(part)
        case _ if dataclasses.is_dataclass(thing):
            if isinstance(thing, ToolLock) and thing.modules is not None:
                yield thing.modules
            if isinstance(thing, LockedPackage) and thing.wheel is not None:
                yield thing.wheel
            if isinstance(thing, TaskCode) and thing.blob is not None:
                yield thing.blob
            for part in dataclasses.fields(thing):
                yield from all_blobs(getattr(thing, part.name))
        case _:
            return
