"""What attempts print, as files.

Owns the layout: `FOLDER/RUN/PATH@NUMBER.log`, run and path encoded as letters, digits, `_`, `-`, `%` and `~`.
A log holds at most `LIMIT` bytes; behind them a line of fixed width is rewritten in place and says how much was dropped, so
that offsets of readers stay valid.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shoal.errors import StoreUnavailableError
from shoal.model.ids import RunId, StepPath
from shoal.ports import LogChunk

LIMIT: Final = 10 * 1024 * 1024
"""Bytes of an attempt's log that are kept."""

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_-]")
_LONGEST: Final = 200
"""Bytes of a file name; file systems allow 255. What is longer goes on in a folder below."""

_FILE: Final = re.compile(r"(.*)@([0-9]+)\.log\Z", re.DOTALL)
_COUNT: Final = slice(len("\n[shoal: "), len("\n[shoal: ") + 15)


def dropped_line(count: int) -> bytes:
    """Return the line that ends a log of which `count` bytes were dropped; always of the same length."""
    return b"\n[shoal: %15d bytes more were dropped]\n" % count


def gap_line(count: int) -> bytes:
    """Return the line that stands in a log where `count` bytes got lost on their way."""
    return b"[shoal: %d bytes were dropped here]\n" % count


def place(path: StepPath, number: int, after: Mapping[str, int] | None) -> int:
    """Return the offset behind which a reader wants an attempt's log."""
    return (after or {}).get(f"{path}@{number}", 0)


@dataclass(frozen=True, slots=True)
class FileLogStore:
    """A `LogStore` in a folder. One writer for an attempt; any number of readers.

    Attributes:
        folder: Absolute path; made on the first write.
    """

    folder: str

    def append(self, run_id: RunId, path: StepPath, number: int, data: bytes, *, dropped: int = 0) -> None:
        """See `LogStore.append`."""
        file = self._run_folder(run_id) / f"{_encoded(path)}@{int(number)}.log"
        try:
            handle = _opened(file)
            try:
                _append(handle, data, dropped)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unavailable(error) from error

    def read(
        self, run_id: RunId, path: StepPath | None = None, *, after: Mapping[str, int] | None = None
    ) -> Sequence[LogChunk]:
        """See `LogStore.read`; by path and number."""
        found: list[LogChunk] = []
        try:
            for step, number, file in sorted(self._files(run_id)):
                if path is None or step == path:
                    offset = place(step, number, after)
                    with file.open("rb") as stream:
                        stream.seek(offset)
                        data = stream.read()
                    if data:
                        found.append(LogChunk(step, number, offset, data))
        except FileNotFoundError:
            return found  # deleted meanwhile
        except OSError as error:
            raise self._unavailable(error) from error
        return found

    def delete(self, run_id: RunId) -> None:
        """See `LogStore.delete`."""
        try:
            shutil.rmtree(self._run_folder(run_id))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unavailable(error) from error

    def _files(self, run_id: RunId) -> Iterator[tuple[StepPath, int, Path]]:
        root = self._run_folder(run_id)
        for file in root.rglob("*.log"):
            match = _FILE.match("".join(file.relative_to(root).parts).replace("~", ""))
            if match and file.is_file() and not file.is_symlink():
                yield StepPath(_decoded(match[1])), int(match[2]), file

    def _run_folder(self, run_id: RunId) -> Path:
        return Path(self.folder, _encoded(run_id))

    def _unavailable(self, error: OSError) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"a log below {self.folder} cannot be used: {error.strerror or error}", hint="check the folder and the disk"
        )


def _opened(file: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(file, flags, 0o666)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, flags, 0o666)


def _append(handle: int, data: bytes, dropped: int) -> None:
    size = os.fstat(handle).st_size
    gap = gap_line(dropped) if dropped else b""
    if size + len(data) + len(gap) <= LIMIT:
        data, dropped = data + gap, 0
    kept = data[: max(0, LIMIT - size)]
    if kept:
        os.pwrite(handle, kept, size)
    lost = len(data) - len(kept) + dropped
    if lost:
        line = os.pread(handle, len(dropped_line(0)), LIMIT)
        before = int(line[_COUNT]) if len(line) == len(dropped_line(0)) else 0
        os.pwrite(handle, dropped_line(before + lost), LIMIT)


def _encoded(text: str) -> str:
    """Return a text as a relative path that only `_decoded` understands: no dots, no separators of the text's own.

    A part that goes on ends with `~`, so that no folder of one text is a folder of another.
    """
    safe = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode("utf-8", "surrogatepass")).decode("ascii")
    return "~/".join(safe[i : i + _LONGEST] for i in range(0, len(safe), _LONGEST))


def _decoded(text: str) -> str:
    raw = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text.encode("ascii"))
    return raw.decode("utf-8", "surrogatepass")
