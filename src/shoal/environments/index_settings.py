"""pip's and uv's settings: which index, and how it is reached.

Owns the translation of pip's settings, from its variables and files, into uv's. Where uv is told something itself, by a
variable or in a `uv.toml` of user or system, pip's word on the same matter is not used.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

_PIP_SECTIONS: Final = ("global", "install")
_TRUE: Final = frozenset({"1", "true", "yes", "on", "y", "t"})

_UV_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": (),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "constraint": ("UV_CONSTRAINT",),
}
"""pip's settings that are honoured, and the variables by which uv would be told the same."""

_UV_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "index-url": ("index-url", "index"),
    "extra-index-url": ("extra-index-url", "index"),
    "find-links": ("find-links",),
    "no-index": ("no-index",),
    "trusted-host": ("allow-insecure-host",),
}
"""The same in a `uv.toml`, at its top or in its table `pip`."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How uv is called so that it finds packages where pip and uv on this machine would.

    Attributes:
        variables: Environment variables for uv, beside those of the process.
        flags: Further arguments of `uv pip compile` and `uv pip install`.
        links: Find-links locations, also among the variables.
    """

    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    flags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The find-links locations that are local folders; a resolution depends on what is in them."""
        paths = [link.removeprefix("file://") for link in self.links]
        return tuple(path for path in paths if Path(path).is_dir())

    def with_links(self, *more: str) -> IndexSettings:
        """Return settings with further find-links locations; a flag would replace the variable, not add to it."""
        links = (*self.links, *more)
        return dataclasses.replace(self, links=links, variables={**self.variables, "UV_FIND_LINKS": ",".join(links)})


_NETWORK: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"})


def index_settings(environment: Mapping[str, str]) -> IndexSettings:
    """Return the settings that the variables and files of this machine make.

    Args:
        environment: The process's environment variables.
    """
    pip = _pip_settings(environment)
    told = _told_to_uv(environment)
    wanted = {key: value for key, value in pip.items() if key not in told}
    # A build may run in a process that was not started with the caller's variables (a worker of a cluster attached to).
    variables = {k: v for k, v in environment.items() if k.startswith("UV_") or k.upper() in _NETWORK}
    if "index-url" in wanted:
        variables["UV_DEFAULT_INDEX"] = wanted["index-url"][-1]
    if "extra-index-url" in wanted:
        variables["UV_EXTRA_INDEX_URL"] = " ".join(wanted["extra-index-url"])
        # pip takes the best version of all its indexes; uv by default stops at the first index that knows the name
        variables |= {} if "UV_INDEX_STRATEGY" in environment else {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    if "find-links" in wanted:
        variables["UV_FIND_LINKS"] = ",".join(wanted["find-links"])
    for key, variable in (("cert", "SSL_CERT_FILE"), ("client-cert", "SSL_CLIENT_CERT")):
        if key in wanted:
            variables[variable] = wanted[key][-1]
    for key, variable in (("trusted-host", "UV_INSECURE_HOST"), ("constraint", "UV_CONSTRAINT")):
        if key in wanted:
            variables[variable] = " ".join(wanted[key])
    flags = ("--no-index",) if wanted.get("no-index", ("",))[-1].lower() in _TRUE else ()
    links = variables.get("UV_FIND_LINKS", environment.get("UV_FIND_LINKS", ""))
    return IndexSettings(variables, flags, tuple(link for link in links.split(",") if link))


def _pip_settings(environment: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return pip's own settings by their long names; a variable wins over a file, a later file over an earlier one."""
    found: dict[str, tuple[str, ...]] = {}
    for path in _pip_files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself would refuse to start; to us the file says nothing
        for section in _PIP_SECTIONS:
            if parser.has_section(section):
                found |= {_long_name(key): tuple(value.split()) for key, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            found[_long_name(name.removeprefix("PIP_"))] = tuple(value.split())
    return {key: value for key, value in found.items() if key in _UV_VARIABLES and value}


def _long_name(key: str) -> str:
    return key.lower().replace("_", "-")


def _pip_files(environment: Mapping[str, str]) -> Sequence[Path]:
    """Return pip's configuration files in the order in which they are read: global, user, site, `PIP_CONFIG_FILE`."""
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environment.get("HOME") or Path.home())
    shared = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared.split(":"))]
    files.append(Path("/etc/pip.conf"))
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip/pip.conf"))
        files.append(home / "Library" / "Application Support" / "pip" / "pip.conf")
    files.append(home / ".pip" / "pip.conf")
    files.append(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    if named:
        files.append(Path(named))
    return files


def _told_to_uv(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the matters on which uv was told something itself."""
    told = {key for key, names in _UV_VARIABLES.items() if any(environment.get(name) for name in names)}
    for path in _uv_files(environment):
        try:
            content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        table = content.get("pip")
        keys = set(content) | set(cast("dict[str, Any]", table) if isinstance(table, dict) else ())
        told |= {key for key, names in _UV_KEYS.items() if keys & set(names)}
    return frozenset(told)


def _uv_files(environment: Mapping[str, str]) -> Sequence[Path]:
    if environment.get("UV_NO_CONFIG"):
        return []
    if named := environment.get("UV_CONFIG_FILE"):
        return [Path(named)]
    home = Path(environment.get("HOME") or Path.home())
    return [
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml",
        *(Path(f) / "uv" / "uv.toml" for f in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")),
        Path("/etc/uv/uv.toml"),
    ]
