"""Where a module is found, without importing it.

Owns the look at the finders of this process. Nothing of a tool is imported: what asks is the orchestrator, which runs no
user code.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Final, cast

TOOL_GROUP: Final = "tool.entrypoint"
"""The entry-point group in which a distribution names its tool, under the distribution's normalized name."""


def is_standard(module: str) -> bool:
    """Return whether a module is of the standard library."""
    return module.partition(".")[0] in sys.stdlib_module_names


def find_module(name: str, path: Sequence[str] | None = None) -> ModuleSpec | None:
    """Return the spec of a module without importing it or any package above it; None if there is none.

    Args:
        name: Dotted name.
        path: Folders to look in; None: this process's finders and `sys.path`.
    """
    where = path
    finders: list[Any] = list(sys.meta_path) if path is None else [PathFinder]
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _find_spec(finders, ".".join(parts[:depth]), where)
        if spec is None:
            return None
        if depth < len(parts):
            if spec.submodule_search_locations is None:
                return None
            where = list(spec.submodule_search_locations)
    return spec if spec is not None and spec.origin is not None else None  # a folder without __init__.py has no functions


def _find_spec(finders: Sequence[Any], name: str, where: Sequence[str] | None) -> ModuleSpec | None:
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        spec = cast("ModuleSpec | None", find(name, where, None)) if find is not None else None
        if spec is not None:
            return spec
    return None


def is_of_the_host(function: str, base_dir: str | None) -> bool:
    """Return whether a function is one of this process's environment that nobody has declared to be a tool.

    Such a function (`os:system`, and any other of the standard library or of an installed package) can do what the built-ins
    do that reach the host. One of a module beside the workflow file, or of packages that the step requires, is not of the host.

    Args:
        function: `package.module:function`.
        base_dir: The folder of the workflow file, if it has one.
    """
    module = function.partition(":")[0]
    if not is_standard(module):
        if base_dir is not None and find_module(module, [base_dir]) is not None:
            return False
        if find_module(module) is None:
            return False
    return all(point.value.replace(" ", "") != function for point in importlib.metadata.entry_points(group=TOOL_GROUP))
