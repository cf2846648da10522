"""Masking of secrets in what leaves an attempt: logs, errors, progress notes; never results.

Owns the one rule of what is masked. A value is looked for as it stands: encoded or changed forms are not recognised, nor is
one with something else in its middle. One shorter than `SHORTEST` is left alone: it would turn ordinary text into stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

SHORTEST: Final = 8
"""Characters from which on a secret's value is masked."""

MASK: Final = "***"

PREFIX: Final = "SHOAL_SECRET_"
"""Of the environment variables that hold secrets."""

FILE_VARIABLE: Final = "SHOAL_SECRETS_FILE"

_TextOrBytes = TypeVar("_TextOrBytes", str, bytes)


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables without those that hold secrets, or name the file that does.

    A tool sees the secrets that its step names, and no others: processes that carry tools are started without them.
    """
    return {name: value for name, value in variables.items() if not name.startswith(PREFIX) and name != FILE_VARIABLE}


class Masking:
    """The secrets that are masked together. Without any, every method returns what it was given.

    Attributes:
        values: What is looked for in bytes, the longest first: of two that begin alike the whole of the longer one goes.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Keep those that are long enough."""
        texts = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)
        self.values: Final = tuple(t.encode(errors="surrogateescape") for t in texts)
        self._in_text: Final = re.compile("|".join(map(re.escape, texts)))
        self.pattern: Final = re.compile(b"|".join(map(re.escape, self.values)))

    def text(self, text: str) -> str:
        """Return text without secrets."""
        return self._in_text.sub(MASK, text) if self.values else text

    def whole(self, data: bytes) -> bytes:
        """Return bytes without secrets; nothing follows them."""
        return self.pattern.sub(MASK.encode(), data) if self.values else data


def mask(text: _TextOrBytes, secrets: Iterable[str]) -> _TextOrBytes:
    """Return text or UTF-8 bytes in which every secret of `SHORTEST` characters or more is replaced by stars."""
    masking = Masking(secrets)
    return masking.whole(text) if isinstance(text, bytes) else masking.text(text)
