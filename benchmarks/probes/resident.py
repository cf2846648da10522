"""The resident memory of this process while something goes on."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from pathlib import Path
from typing import Final, Self

_INTERVAL: Final = 0.01
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Growth:
    """The most bytes by which this process's resident memory is above that of the beginning; a thread looks (Linux only)."""

    def __init__(self) -> None:
        self.most = 0
        self._base = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Give back what is free, and begin to look."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self._base = _resident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.most = max(self.most, _resident() - self._base)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
