"""What the base environment holds: distributions, their RECORD hashes, and what a module's source shows of it.

Owns every look at `importlib.metadata` on behalf of the resolver; imports nothing of what it looks at.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from shoal.modules import is_standard

_VARIES: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
"""Files of a `.dist-info` that tell of the installer and not of what was installed."""


def find_distribution(name: str) -> importlib.metadata.Distribution | None:
    """Return an installed distribution by its name in any spelling; None if there is none."""
    try:
        return importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def record_hash(distribution: importlib.metadata.Distribution) -> str | None:
    """Return a SHA-256 over the files of a distribution as its RECORD lists them; None if it has no RECORD.

    What differs between two installations of one wheel is left out: byte code, scripts (they name the interpreter) and the
    installer's own notes. So pip's and uv's installations of one wheel agree.
    """
    text = distribution.read_text("RECORD")
    if text is None:
        return None
    kept: list[str] = []
    for line in text.splitlines():
        path, _, rest = line.rpartition(",")[0].rpartition(",")
        name = path.rpartition("/")[2]
        if not rest or path.startswith("..") or name.endswith(".pyc") or (".dist-info/" in path and name in _VARIES):
            continue
        kept.append(f"{path},{rest}")
    return hashlib.sha256("\n".join(sorted(kept)).encode()).hexdigest()


def distribution_of_module(module: str) -> importlib.metadata.Distribution | None:
    """Return the distribution that holds a module; None for the standard library and for what no distribution lists."""
    names = _distributions_by_top_level().get(module.partition(".")[0], ())
    if len(names) > 1:  # several share a namespace package: the one that lists the module's file
        path = module.replace(".", "/")
        wanted = {f"{path}.py", f"{path}/__init__.py"}
        names = tuple(n for n in names if any(str(f) in wanted for f in importlib.metadata.files(n) or ()))
    return find_distribution(names[0]) if len(names) == 1 else None


@functools.cache
def _distributions_by_top_level() -> dict[str, tuple[str, ...]]:
    found = importlib.metadata.packages_distributions()
    return {top: tuple(sorted({canonicalize_name(n) for n in names})) for top, names in found.items()}


def lacks(spec: ModuleSpec, attribute: str) -> bool:
    """Return whether a module is seen to have no such attribute; False where that cannot be told.

    Nothing is imported. A source is parsed; one with `import *` or a `__getattr__` of its own may have anything, and a package
    has its submodules once somebody has imported them. A module of the standard library without a source (compiled, or frozen
    into the interpreter) is looked at if this process has loaded it anyway.
    """
    inside = spec.submodule_search_locations
    if inside is not None and PathFinder.find_spec(f"{spec.name}.{attribute}", inside) is not None:
        return False
    source = Path(spec.origin or "")
    if source.suffix != ".py" or not source.is_file():
        there = vars(sys.modules[spec.name]) if is_standard(spec.name) and spec.name in sys.modules else {"__getattr__": None}
        return not {attribute, "__getattr__"} & there.keys()
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return False
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.partition(".")[0])
            case _:
                pass
    return not names & {attribute, "*", "__getattr__"} and not _sets_globals(tree)


def _sets_globals(tree: ast.Module) -> bool:
    return any(isinstance(n, ast.Name) and n.id in ("globals", "vars", "exec", "setattr") for n in ast.walk(tree))
