"""Pinning what steps name to exact tools.

Owns the order in which a tool is looked for: built-ins; the base environment, if it satisfies the request; then a lock from
the environments. Nothing of a tool is imported here: the orchestrator runs no user code.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from packaging.version import InvalidVersion, Version

from shoal.errors import IndexUnavailableError, InfrastructureError, ShoalError, ToolChangedError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.model.tools import EnvironmentLock, ToolLock, ToolRequest, task_lock
from shoal.modules import find_module, is_standard
from shoal.ports import BlobStore, EnvironmentProvider
from shoal.tools.base_environment import distribution_of_module, find_distribution, lacks, record_hash
from shoal.tools.builtins import BUILTINS
from shoal.tools.loader import entry_point_of
from shoal.tools.module_archive import archive

KnownLocks = Callable[[ToolRequest, Sequence[str]], Awaitable[EnvironmentLock | None]]
"""Returns the environment that is known for a request and its requirements, from a lock file say; None: none is."""


class Resolver:
    """Resolves tools against the base environment of this process."""

    def __init__(self, environments: EnvironmentProvider, blobs: BlobStore, *, known: KnownLocks | None = None) -> None:
        """Resolve with these adapters.

        Args:
            environments: Makes locks.
            blobs: Keeps the modules beside workflow files.
            known: Asked before the base environment and `environments`.
        """
        self._environments = environments
        self._blobs = blobs
        self._known = known

    async def resolve(self, requests: Sequence[ToolRequest]) -> Mapping[ToolRequest, ToolLock]:
        """Pin several requests, side by side; those of one folder share one blob of modules.

        A tool that is not to be had fails them all, whatever could not be reached for the others: waiting mends nothing.
        """
        locks: dict[ToolRequest, ToolLock] = {}
        problems: list[str] = []
        unreachable: list[str] = []
        for request, result in (await self._each(requests)).items():
            match result:
                case ToolLock():
                    locks[request] = result
                case IndexUnavailableError():
                    unreachable.append(f"{request.label}: {result}")
                case ShoalError() if not isinstance(result, InfrastructureError):
                    problems.append(f"{request.label}: {result}")
                case _:
                    raise result
        if problems:
            raise ToolResolutionError("\n".join(problems + unreachable))
        if unreachable:
            raise IndexUnavailableError("\n".join(unreachable))
        return locks

    async def attempt(self, requests: Sequence[ToolRequest]) -> Mapping[ToolRequest, ToolLock | ShoalError]:
        """Return what became of each request. Raises `InfrastructureError` for the first that met one."""
        results: dict[ToolRequest, ToolLock | ShoalError] = {}
        for request, result in (await self._each(requests)).items():
            if isinstance(result, InfrastructureError) or not isinstance(result, ToolLock | ShoalError):
                raise result
            results[request] = result
        return results

    async def _each(self, requests: Sequence[ToolRequest]) -> Mapping[ToolRequest, ToolLock | BaseException]:
        unique = list(dict.fromkeys(requests))
        modules = _Folders(self._blobs)
        found = await asyncio.gather(*(self._resolve(r, modules) for r in unique), return_exceptions=True)
        return dict(zip(unique, found, strict=True))

    async def check(self, lock: ToolLock, *, accept_change: bool) -> ToolLock:
        """Return the lock to use on a resume; a tool with an environment of its own never changes."""
        if lock.load == "task":  # its worker compares: nothing of a program is read here
            return dataclasses.replace(lock, record_hash=None) if accept_change else lock
        if lock.environment is not None or lock.distribution is None:
            return lock
        name, version = lock.distribution
        present = find_distribution(name)
        if present is not None and present.version == version and record_hash(present) == lock.record_hash:
            return lock
        found = "is gone" if present is None else f"is now {present.version}"
        if present is not None and present.version == version:
            found = "has other files under the same version"
        else:
            try:
                pinned = await self._environments.lock([f"{name}=={version}"], process=False, base_dir=None)
                return dataclasses.replace(lock, environment=pinned, record_hash=None)
            except ToolResolutionError as error:
                found += f", and {version} cannot be built: {error.message}"
        if not accept_change:
            raise ToolChangedError(
                f"the run is pinned to {name} {version} of the base environment, which {found}",
                hint=f"install {name}=={version} again, or go on with --accept-tool-change",
            )
        return (await self.resolve([lock.request]))[lock.request]

    async def _resolve(self, request: ToolRequest, modules: _Folders) -> ToolLock:
        match request.reference.kind:
            case "builtin":
                return await self._builtin(request)
            case "distribution" | "direct":
                return await self._distribution(request)
            case "function":
                return await self._function(request, modules)
            case "task":
                found = task_lock(dataclasses.replace(request, requirements=()))
                assert found is not None  # noqa: S101 - a reference of this kind has its code
                return dataclasses.replace(found, request=request, environment=await self._environment(request, ()))

    async def _builtin(self, request: ToolRequest) -> ToolLock:
        name = request.reference.name
        if name not in BUILTINS:
            raise ToolResolutionError(f"there is no built-in tool {name!r}", hint=f"there are {', '.join(BUILTINS)}")
        if request.requirements and request.process:
            raise ToolResolutionError(
                "a built-in tool with requirements runs beside the base environment", hint="leave out `isolation: process`"
            )
        return ToolLock(request, "builtin", name, environment=await self._environment(request, ()))

    async def _distribution(self, request: ToolRequest) -> ToolLock:
        reference = request.reference
        if reference.kind == "direct":
            own = f"{reference.name} @ {reference.url}"
        else:
            own = f"{reference.name}=={reference.version}" if reference.version else reference.name
        environment = await self._ask(request, (own, *request.requirements))
        plain = reference.kind == "distribution" and not request.requirements and not request.process
        if environment is None and plain:
            present = find_distribution(reference.name)
            if present is not None and _satisfies(present, reference.version):
                entry_point_of(present, reference.name)
                return ToolLock(request, "entry_point", reference.name, _pin(present), record_hash(present))
        if environment is None:
            environment = await self._environment(request, (own,), asked=True)
        versions = {p.name: p.version for p in environment.packages} if environment else {}
        if reference.name not in versions:  # the lock leaves out what the base provides
            present = find_distribution(reference.name)
            if present is not None:
                versions[reference.name] = present.version
        pinned = (reference.name, versions[reference.name]) if reference.name in versions else None
        return ToolLock(request, "entry_point", reference.name, pinned, environment=environment)

    async def _function(self, request: ToolRequest, modules: _Folders) -> ToolLock:
        target = request.reference.name
        found = await asyncio.to_thread(_locate, request)  # it parses sources and reads the metadata of every distribution
        if found.beside is not None:
            digest = await modules.digest(found.beside)
            return ToolLock(request, "function", target, environment=await self._environment(request, ()), modules=digest)
        present = found.distribution
        if request.requirements or request.process:
            own = (f"{present.name}=={present.version}",) if present is not None else ()
            return ToolLock(request, "function", target, environment=await self._environment(request, own))
        if present is None:
            return ToolLock(request, "function", target)
        return ToolLock(request, "function", target, _pin(present), record_hash(present))

    async def _ask(self, request: ToolRequest, requirements: Sequence[str]) -> EnvironmentLock | None:
        return await self._known(request, requirements) if self._known is not None else None

    async def _environment(self, request: ToolRequest, own: tuple[str, ...], *, asked: bool = False) -> EnvironmentLock | None:
        """Return the environment that a request needs; None if the base environment serves."""
        requirements = (*own, *request.requirements)
        isolated = request.process and request.reference.kind != "builtin"
        if not requirements and not isolated:
            return None
        known = None if asked else await self._ask(request, requirements)
        if known is not None:
            return known
        return await self._environments.lock(requirements, process=isolated, base_dir=request.base_dir)


class _Folders:
    """The blobs of the folders that one call of `resolve` meets; each is made once."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._made: dict[str, asyncio.Task[Digest]] = {}

    async def digest(self, folder: str) -> Digest:
        if folder not in self._made:
            self._made[folder] = asyncio.create_task(asyncio.to_thread(self._make, folder))
        return await self._made[folder]

    def _make(self, folder: str) -> Digest:
        return self._blobs.put(archive(Path(folder)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Located:
    """Where a function is.

    Attributes:
        beside: The folder of the workflow file, if it is in a module there.
        distribution: What holds it in the base environment; None: the standard library, no distribution, or it is in neither
            and comes with the requirements.
    """

    beside: str | None = None
    distribution: importlib.metadata.Distribution | None = None


def _locate(request: ToolRequest) -> _Located:
    """Look for a function in the standard library, beside the workflow file, and in the base environment.

    Raises:
        ToolResolutionError: There is no such module, or its source shows that it has no such function.
    """
    module, _, path = request.reference.name.partition(":")
    standard = is_standard(module)
    if not standard and request.base_dir is not None:
        beside = find_module(module, [request.base_dir])
        if beside is not None:
            _refuse_missing(beside, module, path)
            return _Located(beside=request.base_dir)
    if request.requirements:
        return _Located()
    spec = find_module(module)
    if spec is None:
        beside_too = f", nor beside the workflow file ({request.base_dir})" if request.base_dir else ""
        raise ToolResolutionError(
            f"there is no module {module!r} in the base environment{beside_too}",
            hint="name the packages that hold it in the step's `requirements`",
        )
    _refuse_missing(spec, module, path)
    return _Located(distribution=None if standard else distribution_of_module(module))


def _refuse_missing(spec: ModuleSpec, module: str, path: str) -> None:
    if lacks(spec, path.partition(".")[0]):
        raise ToolResolutionError(f"the module {module!r} has no function {path!r}")


def _satisfies(present: importlib.metadata.Distribution, version: str) -> bool:
    if not version:
        return True
    try:
        return Version(present.version) == Version(version)
    except InvalidVersion:
        return present.version == version


def _pin(present: importlib.metadata.Distribution) -> tuple[str, str]:
    return (present.name, present.version)
