"""Lock files: what tools were resolved to, kept beside the workflow that names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoal.model.tools import LockedPackage, ToolRequest

LOCK_FILE = "shoal.lock"
"""Name of the file; it lies in the folder of the workflow file."""


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What one tool request was resolved to.

    Attributes:
        tool: The reference as written in the workflow.
        requirements: Further requirements of the step, sorted.
        isolation: `base`: the tool is in the base environment. `overlay` or `process`: the kind of its environment.
        folder: Folder of the workflow file, seen from the lock file; empty unless a reference is relative to it.
        workflows: Ids of the workflows that call the tool, sorted; a sub-workflow counts as the one it is part of.
        machine: The interpreter and platform that the packages are for; empty for `base`.
        base: Name and version of what of the base environment the resolution relied on, sorted.
        packages: Sorted by name; those of the base environment left out.
    """

    tool: str
    requirements: tuple[str, ...]
    isolation: Literal["base", "overlay", "process"]
    workflows: tuple[str, ...]
    folder: str = ""
    machine: str = ""
    base: tuple[tuple[str, str], ...] = ()
    packages: tuple[LockedPackage, ...] = ()

    @property
    def key(self) -> EntryKey:
        """Return what tells entries of a file apart."""
        return (self.tool, self.requirements, self.isolation == "process", self.folder)


EntryKey = tuple[str, tuple[str, ...], bool, str]


def entry_key(request: ToolRequest, folder: str) -> EntryKey:
    """Return the key of the entry for a request whose workflow file lies in a folder, seen from the lock file."""
    return (request.reference.text, tuple(sorted(request.requirements)), request.process, folder)


@dataclass(frozen=True, slots=True)
class LockFile:
    """The content of a lock file.

    Attributes:
        entries: Sorted by their keys, which are all different.
        digest: SHA-256 of the file; empty for one that was not read.
    """

    entries: tuple[LockEntry, ...]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class LockFileUse:
    """That a run was started beside a lock file.

    Attributes:
        digest: SHA-256 of the file.
        remarks: A line for each tool that the file did not serve, and why.
    """

    digest: str
    remarks: tuple[str, ...] = ()
