"""Reads one file of an untrusted source tree: a regular file below the root, of bounded size, as UTF-8 text."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Unreadable(Exception):
    """A file that is not read; the message is why: `binary`, `too_large` or `gone`."""


def read_text(root: str, path: str, max_bytes: int) -> str:
    """Return the text of a file.

    Raises:
        ValueError: The path leaves the root.
        Unreadable: The file is not UTF-8 text, too large, or no regular file (any more).
    """
    base = Path(root).resolve()
    file = base / path
    try:
        resolved = file.resolve(strict=True)
        if not resolved.is_relative_to(base):
            raise ValueError(f"{path!r} is not below {root}")
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise Unreadable("gone") from None
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("gone")
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Unreadable("too_large")
    try:
        if b"\0" in data:
            raise Unreadable("binary")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("binary") from None
