"""A fresh worker of the base environment taking on an overlay, without a process of its own for it.

A new Ray worker process under another interpreter takes 1.6 to 3 s whatever is in its environment; one that stands takes on
an overlay in milliseconds. The result is what the overlay's interpreter would have made of it: an overlay holds nothing that a
worker has loaded (its lock is made under the base's versions of that), and where one does all the same, nothing is done and
the caller launches its interpreter. For workers that have carried nothing yet. See ADR 0011.
"""

from __future__ import annotations

import importlib
import multiprocessing.spawn
import site
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OURS: Final = "_shoal_environment"
"""What every environment holds of us, and each worker loads anew: it marks the environment as used."""

_SUFFIXES: Final = (".py", ".so")


def adopt(python: str) -> str:
    """Make this process one of an overlay.

    Packages of the overlay come before the base's, its `.pth` files are read, and `sys.prefix` and `sys.executable` are its.

    Args:
        python: Path of its interpreter.

    Returns:
        Why it cannot be done, nothing changed; empty: it is done.
    """
    prefix = Path(python).parent.parent
    folder = next(prefix.glob("lib/python*/site-packages"), None)
    if folder is None:
        return f"there is no environment at {prefix}"
    loaded = next(_loaded(folder, ""), None)
    if loaded is not None:
        return f"{loaded} is loaded already"
    base = [sys.path.index(entry) for entry in site.getsitepackages() if entry in sys.path]
    sys.path.insert(min(base, default=len(sys.path)), str(folder))
    sys.prefix = sys.exec_prefix = str(prefix)
    sys.executable = python
    multiprocessing.spawn.set_executable(python)
    sys.modules.pop(_OURS, None)
    site.addsitedir(str(folder))
    importlib.invalidate_caches()
    return ""


def _loaded(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the modules of a folder that this process has loaded, from wherever; of namespaces what is in them."""
    for entry in folder.iterdir():
        is_folder = entry.is_dir()
        if not is_folder and not entry.name.endswith(_SUFFIXES):
            continue
        name = prefix + entry.name.partition(".")[0]
        if name == _OURS or name not in sys.modules:
            continue
        if is_folder and getattr(sys.modules[name], "__file__", None) is None:
            yield from _loaded(entry, f"{name}.")
        else:
            yield name
