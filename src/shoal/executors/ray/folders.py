"""Temporary folders that belong to a living process.

Owns that none is left for ever by a process that was killed: the next process that makes one of a kind removes those whose
owner is gone, which an OS lock tells, never a process id.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_LOCK: Final = "owner.lock"


def own_folder(prefix: str, within: Path) -> Path:
    """Make a private folder for the life of this process, and remove those of its kind whose owners were killed.

    Args:
        prefix: Of its name; folders of one kind share it.
        within: Where it lies.

    Raises:
        OSError: It cannot be made.
    """
    _sweep(prefix, within)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=within))
    # The descriptor is never closed, and no child inherits it.
    fcntl.flock(os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    return folder


def _sweep(prefix: str, within: Path) -> None:
    for folder in within.glob(f"{prefix}*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            fd = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue  # another user's, or one that is being made
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its owner lives
        finally:
            os.close(fd)
