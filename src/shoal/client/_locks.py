"""Lock files as clients make and use them.

Owns which tools of a workflow a lock file serves, what a new one holds, and what changed between the two.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shoal.bootstrap import Platform
from shoal.errors import DefinitionError, InvalidInputError, ToolResolutionError
from shoal.language.loading import SUFFIXES, index_files
from shoal.language.lock_file import read_lock_file, render_lock_file
from shoal.model.locks import LOCK_FILE, EntryKey, LockEntry, LockFile, LockFileUse
from shoal.model.tools import ToolLock, ToolRequest
from shoal.model.workflow import Workflow
from shoal.runtime.preparation import name_steps, requests_of

_MISSING: Final = "not in shoal.lock: "


@dataclass(frozen=True, slots=True)
class ToolChange:
    """What became of one tool in a lock file.

    Attributes:
        tool: The reference as written.
        before: `name==version` of its packages as they were locked; empty for a new one.
        after: As they are locked now; empty for one that is gone.
    """

    tool: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockReport:
    """What `lock_tools` did, or found.

    Attributes:
        file: The lock file.
        added: Tools that were not in it.
        updated: Tools that were resolved anew, to something else.
        removed: Tools that no workflow calls any more.
        kept: Tools whose entries stayed as they were.
        problems: A line for each thing that keeps the file from being up to date; only found by a check.
        written: Whether the file was written.
    """

    file: Path
    added: tuple[ToolChange, ...] = ()
    updated: tuple[ToolChange, ...] = ()
    removed: tuple[ToolChange, ...] = ()
    kept: tuple[ToolChange, ...] = ()
    problems: tuple[str, ...] = ()
    written: bool = False


@dataclass(frozen=True, slots=True)
class _Served:
    """What a lock file serves of a workflow.

    Attributes:
        locks: Tools pinned by it, and those that need no lock.
        reasons: Why it does not serve the others; empty: it does not list them.
        refused: Those that cannot be had, whatever the file holds.
    """

    locks: Mapping[ToolRequest, ToolLock]
    reasons: Mapping[ToolRequest, str]
    refused: Mapping[ToolRequest, str]


async def pinned_beside(platform: Platform, workflow: Workflow) -> tuple[LockFileUse, tuple[ToolLock, ...]] | None:
    """Return the tools that the lock file beside a workflow file pins for a run; None if there is no such file.

    Raises:
        DefinitionError: The file is broken, or is none of ours.
        InfrastructureError: The wheel of a locked source is not kept any more, and what builds it cannot be reached.
    """
    if workflow.base_dir is None:
        return None
    file = read_lock_file(Path(workflow.base_dir) / LOCK_FILE)
    if file is None:
        return None
    served = await _serve(platform, file, workflow.base_dir, requests_of(workflow))
    return LockFileUse(file.digest, tuple(_remark(r, why) for r, why in served.reasons.items())), tuple(served.locks.values())


async def _serve(platform: Platform, file: LockFile, folder: str, requests: Sequence[ToolRequest]) -> _Served:
    locked = platform.locked_environments(file, folder)
    found = await platform.resolver(None, known=locked.environment).attempt(requests)
    locks: dict[ToolRequest, ToolLock] = {}
    reasons: dict[ToolRequest, str] = {}
    refused: dict[ToolRequest, str] = {}
    for request, result in found.items():
        if isinstance(result, ToolLock):
            entry = locked.entry(request)
            why = _unlike(result, entry, locked.reasons.get(request, "")) if result.environment is None else None
            if why is None:
                locks[request] = result
            else:
                reasons[request] = why
        elif platform.is_not_locked(result):
            reasons[request] = locked.reasons.get(request, "")
        elif locked.entry(request) is not None:
            reasons[request] = str(result)
        else:
            refused[request] = str(result)
    return _Served(locks, reasons, refused)


def _unlike(lock: ToolLock, entry: LockEntry | None, reason: str) -> str | None:
    """Return how a tool of the base environment is not as it was locked; None: it is, or it needs no lock."""
    if lock.distribution is None:
        return None
    if entry is None or entry.isolation != "base":
        return reason
    name, version = lock.distribution
    if dict(entry.base) != {_normal(name): version}:
        return f"it was locked as {_listed(entry)} of the base environment, which now has {name} {version}"
    return None


def _remark(request: ToolRequest, why: str) -> str:
    tool = request.reference.text
    return f"{_MISSING}{tool}" if not why else f"shoal.lock does not serve for {tool}: {why}"


def _listed(entry: LockEntry) -> str:
    return ", ".join(f"{name} {version}" for name, version in entry.base)


def _normal(name: str) -> str:
    from shoal.language.tool_references import normalize

    return normalize(name)


# ---------------------------------------------------------------- making one


async def lock_workflow(platform: Platform, workflow: Workflow, *, upgrade: bool, check: bool) -> LockReport:
    """Lock the tools of a workflow, or only look whether they are.

    Raises:
        DefinitionError: The lock file that is there is broken, or is none of ours.
        InvalidInputError: The workflow came from no file.
        ToolResolutionError: Some tool cannot be had.
        IndexUnavailableError: No index could be reached.
    """
    folder = workflow.base_dir
    if folder is None:
        raise InvalidInputError("a workflow that came from no file has no lock file")
    path = Path(folder) / LOCK_FILE
    requests = requests_of(workflow)
    old = read_lock_file(path)
    served = await _serve(platform, old or LockFile(()), folder, requests)
    if check:
        return _checked(path, old, served, workflow, _entries(platform, served.locks, folder, workflow))
    kept: Mapping[ToolRequest, ToolLock] = {} if upgrade else served.locks
    wanted = [request for request in requests if request not in kept]
    try:
        fresh = await platform.resolver(platform.index(fresh=upgrade)).resolve(wanted)
    except ToolResolutionError as error:
        raise dataclasses.replace(error, message=name_steps(workflow, error.message)) from error
    mine = _entries(platform, {**kept, **fresh}, folder, workflow)
    entries = _merged(old.entries if old is not None else (), mine, workflow, Path(folder))
    text = render_lock_file(entries).encode()
    written = old is None or text != path.read_bytes()
    if written:
        _write(path, text)
    return _compared(path, {e.key: e for e in old.entries} if old else {}, {e.key: e for e in entries}, mine, written=written)


def _entries(
    platform: Platform, locks: Mapping[ToolRequest, ToolLock], folder: str, workflow: Workflow
) -> dict[EntryKey, LockEntry]:
    found: dict[EntryKey, LockEntry] = {}
    for request, lock in locks.items():
        entry = platform.lock_entry(request, lock, folder, workflow.id)
        if entry is not None:
            found[entry.key] = entry
    return found


def _merged(
    old: Sequence[LockEntry], mine: Mapping[EntryKey, LockEntry], workflow: Workflow, folder: Path
) -> tuple[LockEntry, ...]:
    """Return the entries of a file: those of this workflow, and those that other workflows of the folder call."""
    named = {name for entry in old for name in entry.workflows} - {workflow.id}
    others = named & _ids(folder) if named else set[str]()
    merged = dict(mine)
    for entry in old:
        left = others & set(entry.workflows)
        if entry.key in merged:
            left |= set(merged[entry.key].workflows)
        if left:
            merged[entry.key] = dataclasses.replace(merged.get(entry.key, entry), workflows=tuple(sorted(left)))
    return tuple(sorted(merged.values(), key=lambda e: e.key))


def _ids(folder: Path) -> set[str]:
    return set(index_files(path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES))


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise DefinitionError(f"{path} cannot be written: {error.strerror or error}") from error


def _versions(entry: LockEntry) -> tuple[str, ...]:
    if entry.isolation == "base":
        return tuple(f"{name}=={version}" for name, version in entry.base)
    return tuple(f"{p.name}=={p.version}" for p in entry.packages)


def _same(one: LockEntry, other: LockEntry) -> bool:
    return dataclasses.replace(one, workflows=other.workflows) == other


def _compared(
    path: Path,
    old: Mapping[EntryKey, LockEntry],
    new: Mapping[EntryKey, LockEntry],
    mine: Mapping[EntryKey, LockEntry],
    *,
    written: bool,
) -> LockReport:
    added = tuple(ToolChange(e.tool, (), _versions(e)) for k, e in new.items() if k not in old)
    both = [(old[k], e) for k, e in new.items() if k in old]
    return LockReport(
        path,
        added=added,
        updated=tuple(ToolChange(e.tool, _versions(was), _versions(e)) for was, e in both if not _same(was, e)),
        removed=tuple(ToolChange(e.tool, _versions(e), ()) for k, e in old.items() if k not in new),
        kept=tuple(ToolChange(e.tool, _versions(e), _versions(e)) for was, e in both if _same(was, e) and e.key in mine),
        written=written,
    )


def _checked(
    path: Path, old: LockFile | None, served: _Served, workflow: Workflow, mine: Mapping[EntryKey, LockEntry]
) -> LockReport:
    if old is None:
        return LockReport(path, problems=(f"there is no {path}",))
    problems = [_remark(request, why) for request, why in served.reasons.items()]
    problems += [f"{request.reference.text}: {why}" for request, why in served.refused.items()]
    if not problems:
        extra = [e.tool for e in old.entries if workflow.id in e.workflows and e.key not in mine]
        unlisted = [e.tool for e in old.entries if e.key in mine and workflow.id not in e.workflows]
        problems += [f"{tool} is locked for {workflow.id}, which does not call it any more" for tool in extra]
        problems += [f"{tool} is not locked for {workflow.id}" for tool in unlisted]
    kept = tuple(ToolChange(e.tool, _versions(e), _versions(e)) for e in mine.values())
    return LockReport(path, kept=kept, problems=tuple(problems))
