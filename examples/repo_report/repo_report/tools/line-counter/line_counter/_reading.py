"""Reads one file of an untrusted source tree: a regular file below the root, of bounded size, as UTF-8 text."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableError(Exception):
    """A file that is not read; the message is why: `binary`, `too_large` or `gone`."""


def read_text(root: str, path: str, max_bytes: int) -> str:
    """Return the text of a file.

    Raises:
        ValueError: The path leaves the root.
        UnreadableError: The file is not UTF-8 text, too large, or no regular file (any more).
    """
    base = Path(root).resolve()
    try:
        file = (base / path).resolve(strict=True)
        if not file.is_relative_to(base):
            raise ValueError(f"{path!r} is not below {root}")
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise UnreadableError("gone") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnreadableError("gone")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise UnreadableError("too_large")
    if b"\0" in data:
        raise UnreadableError("binary")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("binary") from None
