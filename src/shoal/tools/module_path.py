"""Putting the modules beside a workflow file on this process's path.

Owns the folder into which such a zip is unpacked (by its digest, for this user only) and the swap of `sys.modules` when one
process serves runs whose modules have the same names.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import site
import stat
import sys
import sysconfig
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final

from shoal.errors import StoreUnavailableError
from shoal.model.ids import Digest
from shoal.ports import BlobStore

_KEPT_SECONDS: Final = 7 * 24 * 3600
"""A folder that no process has used for so long is removed."""

_KEPT_STATES: Final = 16
"""Folders, or states of one, whose imported modules a process keeps."""

_OURS: Final = frozenset({"ray", "shoal"})
"""What a worker stands on; a folder of that name beside a workflow file does not replace it."""


_UNPACKED: Final = re.compile(r'(File ")[^"\n]*/shoal-modules-\d+/[0-9a-f]{64}/')


def with_own_names(traceback: str) -> str:
    """Return a traceback in which modules beside the workflow file have their paths from its folder, not those of our copy."""
    return _UNPACKED.sub(r"\1", traceback)


class ModulePath:
    """The modules of one workflow folder at a time, importable in this process.

    They stand on `sys.path` behind the standard library, which they can never shadow, and before installed packages. A run
    of another folder, or of another state of it, swaps them: each keeps its own module objects, so that classes stay the same.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._entry: str | None = None
        self._names: frozenset[str] = frozenset()
        self._outer: dict[str, ModuleType] = {}
        self._own: dict[Digest, dict[str, ModuleType]] = {}
        self.active: Digest | None = None

    def activate(self, digest: Digest) -> None:
        """Make the modules of a zip importable, and those of every other one not. Not thread-safe."""
        if self.active == digest:
            return
        folder, names = _unpacked(digest, self._blobs)
        self._leave()
        self._names = names - sys.stdlib_module_names - _OURS
        self._outer = self._take()
        sys.modules.update(self._own.get(digest, {}))
        self._entry = str(folder)
        sys.path.insert(_position(), self._entry)
        importlib.invalidate_caches()
        self.active = digest

    def _leave(self) -> None:
        if self.active is None:
            return
        self._own[self.active] = self._take()
        while len(self._own) > _KEPT_STATES:
            del self._own[next(iter(self._own))]
        sys.modules.update(self._outer)
        if self._entry in sys.path:
            sys.path.remove(self._entry)
        self.active = None

    def _take(self) -> dict[str, ModuleType]:
        """Remove the modules of the present names from `sys.modules`, and return them."""
        taken = {name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] in self._names}
        for name in taken:
            del sys.modules[name]
        return taken


def _position() -> int:
    """Return the index of the first entry of `sys.path` that holds installed packages."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    for index, entry in enumerate(sys.path):
        if entry in places or Path(entry).name in ("site-packages", "dist-packages"):
            return index
    return len(sys.path)


def _unpacked(digest: Digest, blobs: BlobStore) -> tuple[Path, frozenset[str]]:
    """Return the folder with the unpacked modules, made if need be, and their top-level names."""
    data = blobs.get(digest)
    with zipfile.ZipFile(BytesIO(data)) as archive:
        names = [_safe(name) for name in archive.namelist()]
        folder = _user_folder() / digest
        if not all((folder / name).is_file() for name in names):  # never unpacked, or a cleaner of /tmp took some of it
            _unpack(archive, folder)
    os.utime(folder)
    return folder, frozenset(PurePosixPath(name).parts[0].removesuffix(".py") for name in names)


def _safe(name: str) -> str:
    """Return the name of a zip's member if it stays inside the folder it is unpacked into."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise StoreUnavailableError(f"the modules of the run hold a file outside of their folder: {name!r}")
    return name


def _user_folder() -> Path:
    """Return a folder below the temporary folder that only this user can enter."""
    folder = Path(tempfile.gettempdir()) / f"shoal-modules-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise StoreUnavailableError(f"{folder} is not a folder of this user alone", hint="remove it, or set TMPDIR")
    return folder


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Unpack beside, then rename: another process sees the whole folder or none."""
    _sweep(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        fresh = Path(temporary) / "modules"
        archive.extractall(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # there is one: another process was faster, or it is incomplete and is filled up
            shutil.copytree(fresh, folder, dirs_exist_ok=True)


def _sweep(root: Path) -> None:
    for old in root.iterdir():
        try:
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        except FileNotFoundError:
            continue
