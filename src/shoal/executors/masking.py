"""Secrets out of what an attempt lets out: its log, its errors and its progress notes; never its result.

Owns the replacement of secret values. A value is looked for verbatim; one shorter than `SHORTEST` is left alone, as it would
blank out unrelated text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from shoal.errors import ShoalError, error_from_json
from shoal.model.attempts import Continued, Failed, Outcome, Succeeded
from shoal.model.run import Progress

SHORTEST: Final = 8
"""Characters from which on a secret is masked."""

MASK: Final = "***"


class Mask:
    """Replaces the secrets of one attempt. Without secrets every method returns what it was given."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: of two secrets that begin alike the whole of the longer one has to go.
        values = sorted({s for s in secrets if len(s) >= SHORTEST}, key=len, reverse=True)
        self._secrets: Final = tuple(v.encode(errors="surrogateescape") for v in values)
        self._text: Final = re.compile("|".join(map(re.escape, values))) if values else None
        self._bytes: Final = re.compile(b"|".join(map(re.escape, self._secrets))) if values else None

    def text(self, text: str) -> str:
        """Return text without secrets."""
        return self._text.sub(MASK, text) if self._text else text

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the masked beginning of a stream, and the unmasked end that may be the beginning of a secret.

        The end belongs in front of the stream's next bytes; it is shorter than the longest secret.
        """
        if self._bytes is None:
            return data, b""
        out: list[bytes] = []
        hold, done = self._possible_start(data), 0
        for match in self._bytes.finditer(data):
            if match.start() >= hold:
                break
            out += (data[done : match.start()], MASK.encode())
            done = match.end()
        hold = max(hold, done)
        out.append(data[done:hold])
        return b"".join(out), data[hold:]

    def whole(self, data: bytes) -> bytes:
        """Return bytes without secrets; nothing follows them."""
        return self._bytes.sub(MASK.encode(), data) if self._bytes else data

    def _possible_start(self, data: bytes) -> int:
        longest = len(self._secrets[0])
        for start in range(max(0, len(data) - longest + 1), len(data)):
            tail = data[start:]
            if any(len(tail) < len(s) and s.startswith(tail) for s in self._secrets):
                return start
        return len(data)

    def progress(self, progress: Progress) -> Progress:
        """Return progress without secrets in its note."""
        return replace(progress, note=self.text(progress.note)) if self._text and progress.note else progress

    def error(self, error: ShoalError) -> ShoalError:
        """Return an error without secrets in any of its fields."""
        return error_from_json(self._masked(error.to_json())) if self._text else error

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome without secrets in its error; a result is left as it is."""
        match outcome:
            case Failed():
                return replace(outcome, error=self.error(outcome.error)) if self._text else outcome
            case Succeeded() | Continued():
                return outcome

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            items = cast("Mapping[str, Any]", value).items()
            return {k: v if k == "code" else self._masked(v) for k, v in items}
        if isinstance(value, (list, tuple)):
            return [self._masked(v) for v in cast("tuple[Any, ...]", value)]
        return value
