"""The logs of attempts, printed."""

from __future__ import annotations

import json
from typing import Any

from shoal.cli.terminal import emit, emit_bytes
from shoal.ports import LogChunk

_LONGEST_PART = 64 * 1024


class LogPrinter:
    """Prints chunks to stdout, as bytes.

    With a prefix, output is by lines, so that lines of steps that run at once are not mixed; a part of a line that is
    longer than 64 KiB is not waited for.
    """

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        self._parts: dict[tuple[str, int], bytes] = {}

    def add(self, chunk: LogChunk) -> None:
        """Print a chunk, or keep the part of it that is no whole line yet."""
        if not self._prefixed:
            emit_bytes(chunk.data)
            return
        key = (chunk.path, chunk.number)
        *whole, part = (self._parts.pop(key, b"") + chunk.data).split(b"\n")
        if len(part) > _LONGEST_PART:
            whole, part = [*whole, part], b""
        if part:
            self._parts[key] = part
        self._print(key, whole)

    def finish(self) -> None:
        """Print what is left of lines without an end."""
        for key, part in self._parts.items():
            self._print(key, [part])
        self._parts.clear()

    def _print(self, key: tuple[str, int], lines: list[bytes]) -> None:
        path, number = key
        prefix = (f"{path} | " if number == 1 else f"{path} (attempt {number}) | ").encode()
        if lines:
            emit_bytes(b"".join(prefix + line + b"\n" for line in lines))


class JsonLogs:
    """Collects chunks as JSON: `{run_id, logs: [{step, attempt, text}]}`."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._data: dict[tuple[str, int], bytearray] = {}

    def add(self, chunk: LogChunk) -> None:
        """Keep a chunk."""
        self._data.setdefault((chunk.path, chunk.number), bytearray()).extend(chunk.data)

    def print_one(self, chunk: LogChunk) -> None:
        """Print a chunk as an object on a line of its own."""
        emit(
            json.dumps(
                {"step": chunk.path, "attempt": chunk.number, "text": chunk.data.decode(errors="replace")},
                ensure_ascii=False,
            )
        )

    def result(self) -> dict[str, Any]:
        """Return the one object."""
        return {
            "run_id": self._run_id,
            "logs": [
                {"step": path, "attempt": number, "text": data.decode(errors="replace")}
                for (path, number), data in self._data.items()
            ],
        }
