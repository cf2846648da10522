"""Resolving requirements to an exact set of packages, by `uv pip compile`.

Owns the form of a lock, and the rule that a lock for an overlay is made under the base's versions of what a worker has loaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from shoal.environments.base import fixed_packages, write_stubs
from shoal.environments.sources import BuiltSource
from shoal.environments.uv import Uv, UvFailedError
from shoal.errors import IndexUnavailableError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.model.tools import EnvironmentLock, LockedPackage

Kind = Literal["overlay", "process"]

_PINNED: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:==\s*(?P<version>[^\s;\\]+)|@\s*(?P<url>\S+))")


def compile_lock(
    requirements: Sequence[str],
    sources: Mapping[str, BuiltSource],
    *,
    kind: Kind,
    uv: Uv,
) -> EnvironmentLock:
    """Return the lock of requirements.

    Args:
        requirements: PEP 508, without direct references; those are `sources`.
        sources: Wheels built from direct references, by normalized name.
        kind: Whether the base environment stands beside.
        uv: For this machine and Python; its folder keeps the stubs.

    Raises:
        ToolResolutionError: The requirements cannot be met.
        IndexUnavailableError: No index could be reached.
    """
    uv.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lock-", dir=uv.root) as temporary:
        folder = Path(temporary)
        lines = [*requirements, *(_placed(source, folder) for source in sources.values())]
        try:
            text = _compile(lines, kind, uv, folder)
        except UvFailedError as error:
            raise _unresolvable(error, kind) from None
        except IndexUnavailableError as error:
            words = f"{', '.join(requirements)} must be resolved with the package index: {error.message}"
            raise dataclasses.replace(error, message=words) from None
    fixed = fixed_packages() if kind == "overlay" else {}
    found = sorted(_packages(text, sources), key=lambda p: p.name)
    base = tuple((p.name, p.version) for p in found if fixed.get(_normal(p.name)) == p.version)
    return lock_of(kind, tuple(p for p in found if (p.name, p.version) not in base), base)


def lock_of(kind: Kind, packages: tuple[LockedPackage, ...], base: tuple[tuple[str, str], ...] = ()) -> EnvironmentLock:
    """Return the lock of a set of packages, with its digest."""
    content = [kind, [[p.name, p.version, sorted(p.hashes), p.source, p.wheel] for p in packages]]
    return EnvironmentLock(Digest(hashlib.sha256(json.dumps(content).encode()).hexdigest()), kind, packages, base)


def _normal(name: str) -> NormalizedName:
    return canonicalize_name(name)


def _placed(source: BuiltSource, folder: Path) -> str:
    """Write a built wheel into a folder, and return the requirement that names it there."""
    path = folder / source.file_name
    path.write_bytes(source.data)
    return f"{source.requirement} @ {path.as_uri()}"


def _compile(lines: Sequence[str], kind: Kind, uv: Uv, folder: Path) -> str:
    (folder / "requirements.in").write_text("\n".join(lines) + "\n")
    arguments = [
        "pip",
        "compile",
        "requirements.in",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        "--python",
        uv.python,
    ]
    arguments += ["--quiet", *uv.settings.flags]
    if kind == "overlay":
        stubs = uv.root / "stubs"
        write_stubs(stubs)
        fixed = fixed_packages()
        (folder / "constraints.txt").write_text("".join(f"{name}=={version}\n" for name, version in fixed.items()))
        arguments += ["--constraints", "constraints.txt"]
        uv = dataclasses.replace(uv, settings=uv.settings.with_links(str(stubs)))
    return uv.run(arguments, folder)


def _packages(text: str, sources: Mapping[str, BuiltSource]) -> Iterator[LockedPackage]:
    """Read what `uv pip compile` wrote: a pinned requirement on each line, with its hashes."""
    for line in text.replace("\\\n", " ").splitlines():
        match = _PINNED.match(line)
        if match is None:
            continue
        name = _normal(match["name"])
        if name in sources:
            source = sources[name]
            yield LockedPackage(
                name, source.version, (f"sha256:{source.digest}",), source.origin, source.digest, source.content
            )
        elif match["version"]:
            yield LockedPackage(name, match["version"], tuple(sorted(re.findall(r"--hash=(\S+)", line))))
        else:
            raise ToolResolutionError(
                f"{name} comes from {match['url']}, which another package requires; only a step's own tool or requirements "
                "may be direct references",
                hint="name the reference in the step's `requirements`",
            )


def _unresolvable(error: UvFailedError, kind: Kind) -> ToolResolutionError:
    """Return the error, which tells whether it is the base environment that stands in the way."""
    fixed = fixed_packages() if kind == "overlay" else {}
    blamed = [f"{name} {version}" for name, version in fixed.items() if f"{name}=={version}" in error.words]
    if not blamed:
        return ToolResolutionError(error.words)
    return ToolResolutionError(
        f"conflicts with {', '.join(blamed)} of the base environment: {error.words}",
        hint="use `isolation: process`, which holds nothing of the base environment",
    )


def checked(requirements: Sequence[str]) -> list[Requirement]:
    """Return parsed requirements. Raises `ToolResolutionError` for one that is none."""
    parsed: list[Requirement] = []
    for text in requirements:
        try:
            parsed.append(Requirement(text))
        except InvalidRequirement as error:
            raise ToolResolutionError(f"{text!r} is not a requirement: {str(error).splitlines()[0]}") from None
    return parsed
