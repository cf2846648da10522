"""Small files that several threads and processes write at once, and that are lost at no harm."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that another reader sees all of it or none; of several writers the last one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    fresh.write_bytes(data)
    fresh.rename(path)
