"""Masking of secrets in what leaves an attempt: logs, errors, events.

A secret shorter than `SHORTEST` characters is not masked: it would turn ordinary text into stars and hide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

SHORTEST: Final = 8
"""Characters from which a secret's value is masked."""

MASK: Final = "***"

_TextOrBytes = TypeVar("_TextOrBytes", str, bytes)


def mask(text: _TextOrBytes, secrets: Iterable[str]) -> _TextOrBytes:
    """Return text or UTF-8 bytes in which every verbatim secret of `SHORTEST` characters or more is replaced by stars.

    A secret that holds another is replaced as a whole. Encoded forms (base64, URL quoting, ...) are not recognised.
    """
    for secret in sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True):
        if isinstance(text, bytes):
            text = text.replace(secret.encode("utf-8", "surrogateescape"), MASK.encode())
        else:
            text = text.replace(secret, MASK)
    return text
