"""Standard output and standard error.

Owns every write to them: results to stdout, all else to stderr. Owns what the terminal can do (colour, Unicode, width).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ReaderGoneError(Exception):
    """Whoever read our standard output has closed it; there is no one left to write for."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs of one character that the terminal can show."""

    pending: str
    running: str
    waiting: str
    succeeded: str
    failed: str
    skipped: str
    canceled: str
    branch: str
    bar: str
    rest: str
    dots: str


UNICODE = Glyphs("·", "▸", "◷", "✓", "✗", "⊘", "■", "╰", "━", "─", "…")
ASCII = Glyphs(".", ">", "~", "+", "x", "-", "#", "`-", "=", "-", "...")


def glyphs_for(stream: TextIO) -> Glyphs:
    """Return the signs that a stream's encoding has."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "".join(getattr(UNICODE, name) for name in UNICODE.__slots__).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def prepare() -> None:
    """Make both streams write what their encoding lacks as escapes, so that no output ends in an encoding error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")


class _Own:
    """Standard error on a descriptor of ours, while tools run in this process."""

    stream: TextIO | None = None


_own = _Own()


def _reopened(descriptor: int) -> TextIO | None:
    """Return a stream on a copy of standard error; None if that is not what `sys.stderr` writes to."""
    try:
        if sys.stderr.fileno() != 2:  # noqa: PLR2004 - standard error
            return None
    except (OSError, ValueError, AttributeError):
        return None
    encoding = getattr(sys.stderr, "encoding", None)
    return open(descriptor, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)


@contextlib.contextmanager
def results_only() -> Generator[None]:
    """Keep standard output for results: what tools in this process write to it goes to standard error meanwhile.

    Both are as before afterwards, whatever a tool did to them, and what we say meanwhile goes out even if it closed them.
    """
    try:
        sys.stdout.flush()
        out, err = os.dup(1), os.dup(2)
    except (OSError, ValueError):
        yield  # there is no standard output to keep
        return
    _own.stream = _reopened(err)
    try:
        os.dup2(2, 1)
        yield
    finally:
        _own.stream = None
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)


def plain(text: str) -> str:
    """Return text without control characters and terminal sequences; line ends and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return the first line of text that is not empty, without control characters."""
    return next((line.strip() for line in plain(text).splitlines() if line.strip()), "")


def emit(text: str, *, end: str = "\n") -> None:
    """Write a result to standard output.

    Raises:
        ReaderGoneError: Standard output is closed.
    """
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except BrokenPipeError as error:
        _give_up_stdout()
        raise ReaderGoneError from error


def emit_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are.

    Raises:
        ReaderGoneError: Standard output is closed.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        emit(data.decode(errors="replace"), end="")
        return
    try:
        sys.stdout.flush()
        buffer.write(data)
        buffer.flush()
    except BrokenPipeError as error:
        _give_up_stdout()
        raise ReaderGoneError from error


def emit_json(value: Any) -> None:
    """Write one JSON object to standard output, indented for a person, on one line for a pipe."""
    emit(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def note(text: str) -> None:
    """Write a line to standard error; nothing happens if it is closed."""
    stream = _own.stream or sys.stderr
    with contextlib.suppress(OSError, ValueError):
        stream.write(text + "\n")
        stream.flush()


def _give_up_stdout() -> None:
    # The interpreter flushes stdout once more at its end; into /dev/null it cannot fail (docs.python.org, "Note on SIGPIPE").
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error_console() -> Console:
    """Return a rich console on standard error."""
    from rich.console import Console

    return Console(file=_own.stream, stderr=True, highlight=False, emoji=False, markup=False)


def result_console() -> Console:
    """Return a rich console on standard output; off a terminal it is wide, so that no line of a table is cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False, width=width)


def asks() -> bool:
    """Return whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
