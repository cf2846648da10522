"""The modules beside a workflow file as one deterministic zip.

Owns which files belong to it. Nothing is imported; a file that a link leads out of the folder is left out.
"""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from shoal.errors import ToolResolutionError

FILE_LIMIT: Final = 2_000
SIZE_LIMIT: Final = 50 * 1024 * 1024
"""Files and bytes that the modules beside a workflow file may have."""

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_NAMED: Final = 5


def archive(folder: Path) -> bytes:
    """Return a zip of the Python modules and packages of a folder; the same bytes for the same files.

    A package is a folder with an `__init__.py`; all of its files belong to it, data too. Of other folders only the `.py` files
    belong to it. Left out: what is hidden, git-ignored (if the folder is in a git repository), a virtual environment, or
    byte code.

    Raises:
        ToolResolutionError: More than `FILE_LIMIT` files or `SIZE_LIMIT` bytes; the largest are named.
    """
    files = sorted(_not_ignored(folder, _files(folder, folder, packaged=False)))
    sizes = {name: (folder / name).stat().st_size for name in files}
    if len(files) > FILE_LIMIT or sum(sizes.values()) > SIZE_LIMIT:
        raise _too_much(folder, sizes)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for name in files:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            target.writestr(entry, (folder / name).read_bytes())
    return out.getvalue()


def _files(root: Path, folder: Path, *, packaged: bool) -> Iterator[str]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.suffix == ".pyc":
            continue
        if entry.is_symlink() and not entry.resolve().is_relative_to(root.resolve()):
            continue
        if entry.is_dir():
            if entry.is_symlink() or not entry.name.isidentifier() or (entry / "pyvenv.cfg").exists():
                continue
            yield from _files(root, entry, packaged=packaged or (entry / "__init__.py").is_file())
        elif entry.is_file() and (packaged or entry.suffix == ".py"):
            yield entry.relative_to(root).as_posix()


def _not_ignored(folder: Path, names: Iterator[str]) -> list[str]:
    """Leave out what git ignores; without git, or outside of a repository, nothing is ignored."""
    found = list(names)
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "check-ignore", "-z", "--stdin"],
            input="\0".join(found).encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    ignored = set(answer.stdout.decode("utf-8", "surrogateescape").split("\0")) if answer.returncode == 0 else set[str]()
    return [name for name in found if name not in ignored]


def _too_much(folder: Path, sizes: dict[str, int]) -> ToolResolutionError:
    folders: dict[str, int] = {}
    for name in sizes:
        folders[PurePosixPath(name).parts[0]] = folders.get(PurePosixPath(name).parts[0], 0) + 1
    by_size = sorted(sizes.items(), key=lambda item: -item[1])[:_NAMED]
    by_count = sorted(folders.items(), key=lambda item: -item[1])[:_NAMED]
    return ToolResolutionError(
        f"the modules beside the workflow file ({folder}) are {len(sizes)} files of {sum(sizes.values()) / 1048576:.1f} MiB; "
        f"at most {FILE_LIMIT} files and {SIZE_LIMIT // 1048576} MiB can go with a run. The largest: "
        + ", ".join(f"{name} ({size / 1048576:.1f} MiB)" for name, size in by_size)
        + "; the most files: "
        + ", ".join(f"{name} ({count})" for name, count in by_count),
        hint="move the workflow to a folder of its own, or have git ignore what is not needed",
    )
