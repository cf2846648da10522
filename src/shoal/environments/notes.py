"""Small files that several threads and processes use at once: notes that are lost at no harm, and locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that another reader sees all of it or none; of several writers the last one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    fresh.write_bytes(data)
    fresh.rename(path)


@contextlib.contextmanager
def locked(path: Path, mode: int) -> Generator[None]:
    """Hold a lock on a file, made if it is not there; `mode` as for `flock`. It ends with the process at the latest."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)
