"""Reads a git history with the `git` command. Nothing of the repository's own configuration is run."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.tools import ToolContext

HEADER = b"\x01"
SAFE = ["-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "core.hooksPath=/dev/null"]


@dataclass(slots=True)
class _File:
    commits: int = 0
    added: int = 0
    deleted: int = 0
    authors: set[bytes] = field(default_factory=set)
    last: int = 0


def find_hotspots(root: str, max_commits: int = 1000, top: int = 1000, context: ToolContext | None = None) -> dict[str, Any]:
    """Find the files below a folder that the last commits changed most often.

    Merges are left out; a renamed file starts anew. Outside of git, or where git refuses, the list is empty and `note`
    says why.

    Args:
        root: The folder.
        max_commits: How far back to look.
        top: How many files to return at most.
        context: Given by Shoal; used to report progress.

    Returns:
        `history`: `{commits, commit, date, files, note}`: how many commits were read, the present commit and its date (or
        null), and the files that still exist as `{path, commits, added, deleted, authors, last}`, the most often changed first.
    """
    base = Path(root).resolve()
    head, note = _head(base)
    if head is None:
        return {"history": {"commits": 0, "commit": None, "date": None, "files": [], "note": note}}
    files: dict[bytes, _File] = {}
    commits = 0
    author, when = b"", 0
    for entry in _log(base, max_commits):
        if entry.startswith(HEADER):
            commits += 1
            stamp, _, author = entry[1:].partition(b" ")
            when = int(stamp)
            if context is not None and commits % 50 == 0:
                context.progress(commits)
            continue
        added, deleted, name = entry.lstrip(b"\n").split(b"\t", 2)
        file = files.setdefault(name, _File())
        file.commits += 1
        file.added += int(added) if added != b"-" else 0
        file.deleted += int(deleted) if deleted != b"-" else 0
        file.authors.add(author)
        file.last = max(file.last, when)
    commit, date = head
    return {"history": {"commits": commits, "commit": commit, "date": date, "files": _ranked(base, files, top), "note": note}}


def _ranked(base: Path, files: dict[bytes, _File], top: int) -> list[dict[str, Any]]:
    ordered = sorted(files.items(), key=lambda entry: (-entry[1].commits, -(entry[1].added + entry[1].deleted), entry[0]))
    found: list[dict[str, Any]] = []
    for raw, file in ordered:
        path = raw.decode("utf-8", "replace")
        if len(found) == top:
            break
        if not (base / os.fsdecode(raw)).is_file():
            continue
        found.append(
            {
                "path": path,
                "commits": file.commits,
                "added": file.added,
                "deleted": file.deleted,
                "authors": len(file.authors),
                "last": datetime.fromtimestamp(file.last, UTC).date().isoformat(),
            }
        )
    return found


def _head(base: Path) -> tuple[tuple[str, str] | None, str]:
    """Return the present commit and its date, and a note; no commit where there is none to be had."""
    try:
        done = subprocess.run(_git(base, "show", "--no-patch", "--format=%H %cs", "HEAD"), **_quiet(), check=False, timeout=60)
        shallow = subprocess.run(_git(base, "rev-parse", "--is-shallow-repository"), **_quiet(), check=False, timeout=60)
    except FileNotFoundError:
        return None, "git is not installed"
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return None, lines[0] if lines else "not a git repository"
    commit, _, date = done.stdout.decode().strip().partition(" ")
    note = "the clone is shallow: older commits are not seen" if shallow.stdout.strip() == b"true" else ""
    return (commit, date), note


def _log(base: Path, max_commits: int) -> Iterator[bytes]:
    """Yield NUL-separated entries: for each commit a header, then a line for each file that it changed."""
    command = _git(
        base, "log", "-z", "--no-merges", f"--max-count={max_commits}", "--numstat", "--no-renames", "--no-ext-diff",
        "--no-textconv", "--relative", "--format=%x01%ct %aE", "HEAD", "--", ".",
    )  # fmt: skip
    with tempfile.TemporaryFile() as errors, subprocess.Popen(command, **_quiet(errors)) as process:
        rest = b""
        while chunk := process.stdout.read(1 << 16):
            *entries, rest = (rest + chunk).split(b"\0")
            yield from (entry for entry in entries if entry.strip(b"\n"))
        if rest.strip(b"\n"):
            yield rest
        if process.wait() != 0:
            errors.seek(0)
            raise RuntimeError(f"git log failed: {errors.read(500).decode('utf-8', 'replace').strip()}")


def _git(base: Path, *arguments: str) -> list[str]:
    return ["git", *SAFE, "--no-pager", "-C", str(base), *arguments]


def _quiet(errors: Any = subprocess.PIPE) -> dict[str, Any]:
    environment = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors, "env": {**os.environ, **environment}}
