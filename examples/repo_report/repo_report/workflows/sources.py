"""Lists the source files of a tree in groups: the module beside the workflow that its first step calls."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

VENDORED = frozenset({"node_modules", "site-packages", "third_party", "vendor", "vendored", "venv", "__pycache__"})
GENERATED = frozenset({"build", "dist", "target"})
"""Folders that are left out where git does not say what belongs to the project."""

GROUP_FILES = 50
GROUP_BYTES = 4 * 1024 * 1024


def list_sources(path: str, max_files: int = 20_000) -> dict[str, Any]:
    """List the files below a folder, in groups that one attempt each can work on.

    In a git work tree these are the files that git tracks or would track (`.gitignore` counts); elsewhere, and in a folder
    that git ignores, all files.
    Hidden and vendored folders, symbolic links and special files are left out. Reads names and sizes only.

    Args:
        path: The folder, as an absolute path.
        max_files: More files than this are an error, so that a wrong path does not start a day's work.

    Returns:
        `root`: the absolute path. `groups`: a list of `{name, files}`, the paths relative to `root` with forward slashes.
        `python_groups`: the same for Python files alone. `files`: how many there are. `git`: whether git listed them.

    Raises:
        ValueError: The path is not absolute, there is no such folder, or it holds no file or too many.
    """
    root = Path(path).expanduser()
    if not root.is_absolute():
        raise ValueError(f'{path!r} is not an absolute path, and workers do not run in your folder: write -i path="$PWD"')
    if not root.is_dir():
        raise ValueError(f"{path!r} is not a folder on the machine of the worker")
    root = root.resolve()
    tracked = _listed_by_git(root)
    names = _walk(root) if tracked is None else (name for name in tracked if not _left_out(name, VENDORED))
    sizes = _sizes(root, names, max_files)
    if not sizes:
        raise ValueError(f"{root} holds no source file")
    python = {name: size for name, size in sizes.items() if name.endswith((".py", ".pyi"))}
    return {
        "root": str(root),
        "groups": _groups(sizes),
        "python_groups": _groups(python),
        "files": len(sizes),
        "git": tracked is not None,
    }


def _listed_by_git(root: Path) -> list[str] | None:
    """Return what git tracks or would track below a folder; None if that is nothing, or git cannot say."""
    command = [
        "git",
        "-c",
        "core.fsmonitor=false",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name}) or None


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not _left_out(f, VENDORED | GENERATED))
        for file in sorted(files):
            name = (Path(folder) / file).relative_to(root).as_posix()
            if not file.startswith("."):
                yield name


def _left_out(name: str, folders: frozenset[str]) -> bool:
    return any(part.startswith(".") or part in folders for part in PurePosixPath(name).parts)


def _sizes(root: Path, names: Iterator[str], max_files: int) -> dict[str, int]:
    """Return the size of every regular file, by name; what has gone since it was listed is left out."""
    sizes: dict[str, int] = {}
    for name in names:
        try:
            name.encode()
            found = (root / name).lstat()
        except (OSError, UnicodeEncodeError):
            continue
        if stat.S_ISREG(found.st_mode):
            sizes[name] = found.st_size
        if len(sizes) > max_files:
            raise ValueError(f"{root} holds more than {max_files} files; name a smaller folder, or raise max_files")
    return sizes


def _groups(sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Split files into groups of bounded size, neighbours together; a group is named after what its paths have in common."""
    chunks: list[list[str]] = []
    room = 0
    for name in sorted(sizes):
        if not chunks or len(chunks[-1]) == GROUP_FILES or sizes[name] > room:
            chunks.append([])
            room = GROUP_BYTES
        chunks[-1].append(name)
        room -= sizes[name]
    return [{"name": os.path.commonpath([Path(name).parent for name in chunk]) or ".", "files": chunk} for chunk in chunks]
