"""Values as the engine reads and makes them, over the blobs; and loops' outputs gathered into manifests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

from shoal.errors import ExpressionError
from shoal.model.encoding import decode, encode, encode_manifest, json_bytes, listed
from shoal.model.run import StepStatus
from shoal.model.values import INLINE_LIMIT, Json, Result, Value
from shoal.ports import BlobStore

LOAD_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a value above which no expression may look inside."""

_NULL: Final = Value("json", 4, data=b"null")


class BlobValues:
    """The engine's `Values` over a blob store; never unpickles."""

    def __init__(self, blobs: BlobStore) -> None:
        """Read and write large values in a blob store."""
        self._blobs = blobs

    def load(self, value: Value) -> Json:
        """Return the JSON of a value of at most `LOAD_LIMIT` bytes."""
        if value.size > LOAD_LIMIT:
            raise ExpressionError(
                f"the value has {value.size:,} bytes and an expression may look into {LOAD_LIMIT:,} at most",
                hint="pass the whole reference on to a tool instead",
            )
        return cast("Json", decode(value, self._blobs.get, trusted=False))

    def items(self, value: Value) -> Sequence[Value]:
        """Return the values that a manifest lists."""
        return listed(value, self._blobs.get)

    def store(self, value: Json) -> Value:
        """Return JSON as a value."""
        return encode(value, self._blobs.put)


async def gather(items: AsyncIterator[tuple[int, StepStatus, Result | None]], count: int, blobs: BlobStore) -> Result:
    """Return the outputs of a loop: for each output that any item has, the list of the items' values.

    Values stand in the manifest as they stand in the journal: large ones by their digest, which their own rows keep alive.

    Args:
        items: Index, status and outputs of items, in any order.
        count: How many items the loop has.
        blobs: Where large values go, durably.
    """
    columns: dict[str, list[Value]] = {}
    async for index, status, result in items:
        if status is not StepStatus.SUCCEEDED or result is None:
            continue
        for key, value in result.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = [_NULL] * count
            column[index] = value
    return {key: _listed(column, blobs) for key, column in columns.items()}


def _listed(column: Sequence[Value], blobs: BlobStore) -> Value:
    plain = all(v.codec == "json" and v.data is not None for v in column)
    if plain and sum(v.size + 1 for v in column) < INLINE_LIMIT:
        data = b"[" + b",".join(cast("bytes", v.data) for v in column) + b"]"
        return Value("json", len(data), data=data)
    return encode_manifest(list(column), blobs.put)


async def from_memory(
    kept: Sequence[Result | None],
) -> AsyncIterator[tuple[int, StepStatus, Result | None]]:
    """Yield the outputs of items that are not in the journal (`checkpoint: false`)."""
    for index, result in enumerate(kept):
        if result is not None:
            yield index, StepStatus.SUCCEEDED, result


def text_of(value: Json) -> str:
    """Return a value as an environment variable holds it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_bytes(value).decode()
