"""Secrets out of what an attempt lets out: its log, its errors and its progress notes; never its result.

Owns the masking of a stream that comes in pieces, and of an attempt's values. What is masked is the rule of `model.masking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from shoal.errors import ShoalError, error_from_json
from shoal.model.attempts import Continued, Failed, Outcome, Succeeded
from shoal.model.masking import MASK, Masking
from shoal.model.run import Progress


class Mask(Masking):
    """Replaces the secrets of one attempt. Without secrets every method returns what it was given."""

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the masked beginning of a stream, and the unmasked end that may be the beginning of a secret.

        The end belongs in front of the stream's next bytes; it is shorter than the longest secret.
        """
        if not self.values:
            return data, b""
        out: list[bytes] = []
        hold, done = self._possible_start(data), 0
        for match in self.pattern.finditer(data):
            if match.start() >= hold:
                break
            out += (data[done : match.start()], MASK.encode())
            done = match.end()
        hold = max(hold, done)
        out.append(data[done:hold])
        return b"".join(out), data[hold:]

    def _possible_start(self, data: bytes) -> int:
        longest = max(map(len, self.values))
        for start in range(max(0, len(data) - longest + 1), len(data)):
            tail = data[start:]
            if any(len(tail) < len(s) and s.startswith(tail) for s in self.values):
                return start
        return len(data)

    def progress(self, progress: Progress) -> Progress:
        """Return progress without secrets in its note."""
        return replace(progress, note=self.text(progress.note)) if self.values and progress.note else progress

    def error(self, error: ShoalError) -> ShoalError:
        """Return an error without secrets in any of its fields."""
        return error_from_json(self._masked(error.to_json())) if self.values else error

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome without secrets in its error; a result is left as it is."""
        match outcome:
            case Failed():
                return replace(outcome, error=self.error(outcome.error)) if self.values else outcome
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
