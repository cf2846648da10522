"""Locks from a lock file, where they still suit.

Owns the question whether an entry serves here and now: this machine, this base environment, these sources. It asks no index,
but builds anew the wheel of an unchanged `file:` or `git+` reference that is not kept any more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shoal.environments.base import fixed_packages, machine_name
from shoal.environments.compiling import checked, lock_of
from shoal.environments.sources import at_commit, build_source, content_of, is_relative
from shoal.environments.uv import Uv
from shoal.errors import NotFoundError, ToolResolutionError
from shoal.model.locks import LockEntry, LockFile, entry_key
from shoal.model.tools import BuiltEnvironment, EnvironmentLock, LockedPackage, ToolRequest
from shoal.ports import BlobStore

NOT_LISTED: Final = ""
"""The reason why a tool is not served of which the file has no entry."""


class _StaleError(Exception):
    """An entry does not serve; with the reason. Never leaves this module."""


class LockedEnvironments:
    """Locks of one lock file.

    Attributes:
        reasons: Why the file did not serve a request it was asked for; `NOT_LISTED`: it has no entry.
    """

    def __init__(self, file: LockFile, folder: str, blobs: BlobStore, uv: Uv) -> None:
        """Serve what a file holds.

        Args:
            file: The content.
            folder: Where it lies; requests of workflow files elsewhere are told apart by their folder seen from here.
            blobs: Keeps the wheels built from direct references.
            uv: Builds such a wheel that is not kept any more.
        """
        self._entries = {entry.key: entry for entry in file.entries}
        self._folder = folder
        self._blobs = blobs
        self._uv = uv
        self.reasons: dict[ToolRequest, str] = {}

    def entry(self, request: ToolRequest) -> LockEntry | None:
        """Return what the file has for a request, whether it serves or not."""
        return self._entries.get(entry_key(request, folder_of(request, self._folder)))

    async def environment(self, request: ToolRequest, requirements: Sequence[str]) -> EnvironmentLock | None:
        """Return the locked environment of a request; None if the file does not serve it, and `reasons` tells why.

        Raises:
            ToolResolutionError: A source that did not change does not build.
            IndexUnavailableError: Building it needs the index, or a repository, which cannot be reached.
        """
        entry = self.entry(request)
        if entry is None:
            self.reasons[request] = NOT_LISTED
            return None
        if entry.isolation == "base":
            self.reasons[request] = f"it was locked as {_named(entry.base)} of the base environment, which has it no more"
            return None
        try:
            lock = await asyncio.to_thread(self._suiting, entry, requirements, request.base_dir)
        except _StaleError as stale:
            self.reasons[request] = str(stale)
            return None
        self.reasons.pop(request, None)
        return lock

    def _suiting(self, entry: LockEntry, requirements: Sequence[str], base_dir: str | None) -> EnvironmentLock:
        kind = "process" if entry.isolation == "process" else "overlay"
        _check_machine(entry)
        if kind == "overlay":
            _check_base(entry)
        packages = {p.name: p for p in entry.packages}
        for requirement in checked(requirements):
            _check_held(requirement, {**dict(entry.base), **{p.name: p.version for p in entry.packages}})
            if requirement.url is not None:
                name = canonicalize_name(requirement.name)
                packages[name] = self._source(requirement, packages[name], base_dir)
        return lock_of(kind, tuple(packages.values()), entry.base)

    def _source(self, requirement: Requirement, package: LockedPackage, base_dir: str | None) -> LockedPackage:
        """Return the package of a direct reference with a wheel that is kept."""
        url = requirement.url or ""
        if url.startswith("git+"):
            pinned = at_commit(url, package.source)
            if pinned is None:
                raise _StaleError(f"it names no commit for {url}")
            url = pinned
        else:
            try:
                content = content_of(url, base_dir)
            except ToolResolutionError as error:
                raise _StaleError(error.message) from None
            if content != package.content or package.source != url:
                raise _StaleError(f"{url} has changed since it was locked")
        if package.wheel is not None:
            try:
                self._blobs.put(self._blobs.get(package.wheel))  # written again, it is not swept before the run names it
                return package
            except NotFoundError:
                pass
        reference = Requirement(f"{requirement.name}{_extras(requirement)} @ {url}")
        built = build_source(reference, base_dir=base_dir, blobs=self._blobs, uv=self._uv)
        return dataclasses.replace(package, version=built.version, hashes=(f"sha256:{built.digest}",), wheel=built.digest)


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _named(packages: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages)


def _check_machine(entry: LockEntry) -> None:
    here = machine_name()
    if entry.machine != here:
        raise _StaleError(f"it was locked for {entry.machine or 'no machine'}, and this is {here}")


def _check_base(entry: LockEntry) -> None:
    fixed: dict[str, str] = {str(name): version for name, version in fixed_packages().items()}
    for name, version in entry.base:
        if fixed.get(name) != version:
            now = f"now has {name} {fixed[name]}" if name in fixed else f"has no {name} now"
            raise _StaleError(f"it was locked with {name} {version} of the base environment, which {now}")
    for package in entry.packages:
        if package.name in fixed:
            raise _StaleError(
                f"it holds {package.name}, of which the base environment now has {fixed[package.name]} for all tools"
            )


def _check_held(requirement: Requirement, versions: dict[str, str]) -> None:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return
    version = versions.get(canonicalize_name(requirement.name))
    if version is None or not requirement.specifier.contains(version, prereleases=True):
        raise _StaleError(f"what it was locked to does not hold {requirement}")


def folder_of(request: ToolRequest, root: str) -> str:
    """Return the folder of a request's workflow file, seen from a lock file's; empty unless a reference is relative to it."""
    if request.base_dir is None or Path(request.base_dir) == Path(root):
        return ""
    urls = [request.reference.url, *(r.url or "" for r in checked(request.requirements))]
    return os.path.relpath(request.base_dir, root) if any(map(is_relative, urls)) else ""


def entry_of(request: ToolRequest, environment: EnvironmentLock, root: str, workflow: str) -> LockEntry:
    """Return the entry of a request that was resolved to an environment."""
    return LockEntry(
        tool=request.reference.text,
        requirements=tuple(sorted(request.requirements)),
        isolation=environment.kind,
        workflows=(workflow,),
        folder=folder_of(request, root),
        machine=machine_name(),
        base=environment.base,
        packages=environment.packages,
    )


def base_entry(request: ToolRequest, distribution: tuple[str, str], root: str, workflow: str) -> LockEntry:
    """Return the entry of a request that a distribution of the base environment serves."""
    name, version = distribution
    return LockEntry(
        tool=request.reference.text,
        requirements=tuple(sorted(request.requirements)),
        isolation="base",
        workflows=(workflow,),
        folder=folder_of(request, root),
        base=((canonicalize_name(name), version),),
    )


class NoIndex:
    """An `EnvironmentProvider` that resolves nothing: for those who take what is locked and no more."""

    async def lock(self, requirements: Sequence[str], *, process: bool, base_dir: str | None) -> EnvironmentLock:  # noqa: ARG002
        """Refuse."""
        raise NotLockedError(f"{', '.join(requirements)} is not locked")

    async def build(self, lock: EnvironmentLock, *, node: str | None = None, tell: object = None) -> BuiltEnvironment:  # noqa: ARG002
        """Refuse."""
        raise NotLockedError("nothing is built here")

    async def prepare(self, locks: Sequence[EnvironmentLock], *, node: str | None = None) -> None:
        """Do nothing."""

    def fingerprint(self) -> str:
        """Return nothing: it stands on no environment."""
        return ""


class NotLockedError(ToolResolutionError):
    """A request is not served by a lock file, and nobody else was to be asked."""
