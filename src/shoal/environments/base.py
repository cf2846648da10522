"""The base environment as other environments see it.

Owns the list of packages that an overlay must not change (ray, shoal, and what a Ray worker imports before a tool), the
fingerprint, and the stubs by which the resolver knows of them without any index.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import site
import sys
import sysconfig
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from shoal.environments.notes import write_whole

_ROOT: Final = "ray"
_ALSO: Final = ("shoal", "psutil")
"""Besides ray and what it requires: we ourselves, and what Ray imports although its metadata does not say so."""


@functools.cache
def fixed_packages() -> dict[NormalizedName, str]:
    """Return name and version of each package that an overlay must leave as it is in the base environment.

    That is the closure of ray's own requirements (without extras) with shoal. A Ray worker has imported nearly all of them
    before it calls a tool, and an overlay stands before the base on the path: another protobuf there ends the worker itself.
    """
    found: dict[NormalizedName, str] = {}
    waiting = [canonicalize_name(_ROOT)]
    while waiting:
        name = waiting.pop()
        distribution = _distribution(name)
        if name in found or distribution is None:
            continue
        found[name] = distribution.version
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    for name in map(canonicalize_name, _ALSO):
        if (distribution := _distribution(name)) is not None:
            found[name] = distribution.version
    return dict(sorted(found.items()))


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    # Importing ray puts its vendored packages (psutil among them) on the path; the base must look the same before and after.
    path = [entry for entry in sys.path if "thirdparty_files" not in entry]
    return next(iter(importlib.metadata.Distribution.discover(name=name, path=path)), None)


@functools.cache
def fingerprint() -> str:
    """Return the fingerprint of the base environment: interpreter, ABI, platform, libc and the fixed packages."""
    return _digest([*machine(), fixed_packages()])


def machine() -> tuple[str, ...]:
    """Return what binary packages depend on: interpreter, its exact version and ABI, platform and libc."""
    markers = default_environment()
    return (
        markers["implementation_name"],
        markers["python_full_version"],
        str(sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag),
        sysconfig.get_platform(),
        "-".join(platform.libc_ver()),
    )


def machine_name() -> str:
    """Return what a resolution is for, in words: interpreter, its minor version, platform and libc."""
    markers = default_environment()
    libc = platform.libc_ver()[0] or "musl" if sys.platform == "linux" else ""
    return " ".join(filter(None, (markers["implementation_name"], markers["python_version"], sysconfig.get_platform(), libc)))


def site_folders() -> tuple[str, ...]:
    """Return the folders of installed packages that the base environment sees, in its order."""
    folders = list(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return tuple(folder for folder in folders if Path(folder).is_dir())


def build_key(digest: str, kind: str) -> str:
    """Return the key of a built environment on this node; also of the place of the base, which an overlay points to."""
    place = [sys.prefix, *site_folders(), fingerprint()] if kind == "overlay" else [sys.base_prefix]
    return _digest([digest, kind, *machine(), *place])[:32]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_stubs(folder: Path) -> None:
    """Write a wheel without content for each fixed package, so that a resolution meets the base's versions offline too.

    Of its requirements a stub keeps those of its extras only: the others are there, in the base. No stub is ever installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in fixed_packages().items():
        stem = f"{name.replace('-', '_')}-{version}"
        path = folder / f"{stem}-py3-none-any.whl"
        if path.exists():
            continue
        data = BytesIO()
        with zipfile.ZipFile(data, "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", _stub_metadata(name, version))
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
        write_whole(path, data.getvalue())


def _stub_metadata(name: str, version: str) -> str:
    distribution = _distribution(name)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if distribution is not None:
        lines += [f"Provides-Extra: {extra}" for extra in distribution.metadata.get_all("Provides-Extra") or ()]
        lines += [f"Requires-Dist: {text}" for text in distribution.requires or () if "extra ==" in text]
    return "\n".join(lines) + "\n"
