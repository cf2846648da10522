"""Finding the callable that a lock names, in this process's environment.

Owns the cache of loaded tools. A tool is imported once for each lock; what its import raises is raised every time anew.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from packaging.utils import canonicalize_name

from shoal.errors import ToolChangedError, ToolResolutionError
from shoal.model.tools import ToolLock, ToolOptions
from shoal.modules import TOOL_GROUP
from shoal.ports import BlobStore
from shoal.tools.builtins import BUILTINS
from shoal.tools.module_path import ModulePath
from shoal.tools.ray_options import options_of, unwrap
from shoal.tools.signature import Signature, signature_of

_CACHED: Final = 256

_TASKS: Final = "shoal.workflow.worker"
"""The module whose `load_task` makes a `LoadedTool` of the lock of a Python task."""


@dataclass(frozen=True, slots=True)
class LoadedTool:
    """A tool that is ready to be called.

    Attributes:
        name: As errors and logs name it.
        dumps: For a task: how its values are pickled. Its inputs are handed over encoded, and its answer is one value.
    """

    name: str
    function: Callable[..., Any]
    signature: Signature
    options: ToolOptions
    dumps: Callable[[object], bytes] | None = None


class ToolLoader:
    """Loads tools into this process."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._modules = ModulePath(blobs)
        self._loaded: dict[tuple[object, ...], LoadedTool] = {}
        self._lock = threading.RLock()

    def load(self, lock: ToolLock) -> LoadedTool:
        """Return the tool of a lock.

        Raises:
            ToolResolutionError: There is no such distribution, module or function here.
            ToolChangedError: The distribution here is not of the version that the lock names.
            BaseException: What the tool's module raises when it is imported.
        """
        key = (lock.load, lock.target, lock.modules, lock.distribution, lock.record_hash, lock.request.reference.code)
        found = self._loaded.get(key)
        if found is not None and (lock.modules is None or self._modules.active == lock.modules):
            return found
        with self._lock:  # an import is slow, and two threads must not swap the modules beneath each other
            if lock.modules is not None:
                self._modules.activate(lock.modules)
            found = self._loaded.get(key)
            if found is None:
                found = _load(lock, self._blobs)
                if len(self._loaded) >= _CACHED:
                    self._loaded.clear()
                self._loaded[key] = found
            return found


def _load(lock: ToolLock, blobs: BlobStore) -> LoadedTool:
    match lock.load:
        case "task":
            # By name: adapters do not know the front end, which knows Ray; a worker that is given a task has both.
            return importlib.import_module(_TASKS).load_task(lock, blobs)
        case "builtin":
            if lock.target not in BUILTINS:
                raise ToolResolutionError(f"there is no built-in tool {lock.target!r}", hint=f"there are {', '.join(BUILTINS)}")
            found: object = BUILTINS[lock.target]
        case "entry_point":
            found = _entry_point(lock)
        case "function":
            found = _function(lock.target)
    return loaded(lock.target, found)


def loaded(name: str, found: object) -> LoadedTool:
    """Return a callable, or a `@ray.remote` function around one, ready to be called."""
    function = unwrap(found, name)
    return LoadedTool(name, function, signature_of(function), options_of(found, function))


def _entry_point(lock: ToolLock) -> object:
    try:
        distribution = importlib.metadata.distribution(lock.target)
    except importlib.metadata.PackageNotFoundError:
        raise ToolResolutionError(f"the distribution {lock.target} is not installed in the tool's environment") from None
    if lock.distribution is not None and distribution.version != lock.distribution[1]:
        raise ToolChangedError(
            f"the run is pinned to {lock.target} {lock.distribution[1]}, and this worker has {distribution.version}",
            hint="resume with --accept-tool-change, or bring the base environment of the workers to the same versions",
        )
    point = entry_point_of(distribution, lock.target)
    try:
        return point.load()
    except (AttributeError, ModuleNotFoundError) as error:
        missing = isinstance(error, AttributeError) or point.module.startswith(f"{error.name}")
        if missing:
            raise ToolResolutionError(f"tool {lock.target}: its entry point {point.value!r} leads nowhere: {error}") from None
        raise


def entry_point_of(distribution: importlib.metadata.Distribution, name: str) -> importlib.metadata.EntryPoint:
    """Return the entry point that is a distribution's tool: the one under its name, else the only one there is.

    Raises:
        ToolResolutionError: There is none, or several and none of its name.
    """
    points = [p for p in distribution.entry_points if p.group == TOOL_GROUP]
    named = [p for p in points if canonicalize_name(p.name) == canonicalize_name(name)]
    if len(named) == 1 or len(points) == 1:
        return (named or points)[0]
    if not points:
        raise ToolResolutionError(
            f"the distribution {name} {distribution.version} has no entry point in the group {TOOL_GROUP!r}",
            hint="name a function of it instead: package.module:function",
        )
    raise ToolResolutionError(
        f"the distribution {name} {distribution.version} has several tools and none under its own name: "
        + ", ".join(sorted(p.name for p in points)),
        hint="name the function instead: package.module:function",
    )


def _function(target: str) -> object:
    module_name, _, path = target.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ToolResolutionError(f"there is no module {error.name!r} in the tool's environment") from None
        raise
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ToolResolutionError(f"the module {module_name!r} has no {path!r}") from None
    return found
