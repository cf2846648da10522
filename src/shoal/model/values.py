"""Values that pass between steps, and the arguments of an attempt.

Owns the forms; how a Python object becomes one of them is in `encoding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

from shoal.model.ids import Digest

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
else:
    Json = Any
"""Any JSON value. `nan` and infinities are not JSON."""

INLINE_LIMIT: Final = 64 * 1024
"""Bytes up to which an encoded value travels in the reply and stands in the journal; above, it is a blob."""

Codec = Literal["json", "pickle", "manifest"]


@dataclass(frozen=True, slots=True)
class Value:
    """One encoded value: inline bytes, or the digest of a blob that is durable before the value is recorded.

    Attributes:
        codec: `json`: UTF-8 JSON. `pickle`: read only where user code runs. `manifest`: a JSON array of encoded values
            that decodes to the list of what they decode to.
        size: Bytes of the encoded form.
        data: The bytes, if inline.
        digest: The blob, if not inline.
        type_name: For a pickle the qualified name of the object's type, to show without unpickling.
        hint: A cache that an executor may attach (an object reference). Never recorded, never compared.
    """

    kind: ClassVar[str] = "value"

    codec: Codec
    size: int
    data: bytes | None = None
    digest: Digest | None = None
    type_name: str = ""
    hint: object = field(default=None, compare=False, repr=False, metadata={"transient": True})


Result = Mapping[str, Value]
"""The recorded outputs of a step by name."""


@dataclass(frozen=True, slots=True)
class SecretText:
    """Text with secrets in it: alternating literal text and, as `SecretName`, names to be filled in at the very last."""

    kind: ClassVar[str] = "secret"

    parts: tuple[str | SecretName, ...]


@dataclass(frozen=True, slots=True)
class SecretName:
    """The name of a secret."""

    kind: ClassVar[str] = "name"

    name: str


Hole = Value | SecretText


@dataclass(frozen=True, slots=True)
class Arguments:
    """A JSON tree with holes.

    Attributes:
        tree: The tree; null stands where a hole is.
        holes: Where (keys and indices from the root), and what goes there.
    """

    tree: Json
    holes: tuple[tuple[tuple[str | int, ...], Hole], ...] = ()
