"""The text of lock files: TOML to validated entries and back.

Owns the form of `shoal.lock` and what is refused. Nothing of a file is evaluated, opened or used as a path; names, versions and
digests have the only forms that they may have.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from shoal.errors import DefinitionError, Problem
from shoal.model.ids import Digest
from shoal.model.locks import LockEntry, LockFile
from shoal.model.tools import LockedPackage

FORMAT: Final = 1
"""Raised when an older Shoal could not read, or would misread, what is written."""

SIZE_LIMIT: Final = 8 * 1024**2
"""Bytes that a lock file may have: room for some thousand packages with all their hashes."""

_HEADER: Final = """\
# The exact packages of the tools that the workflows of this folder call. Made by `shoal tools lock`; keep it under
# version control, and do not edit it. A run uses it by itself.
"""
_HINT: Final = "remove it, then make it anew: `shoal tools lock FILE`"


def _version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion as error:
        raise ValueError("not a version") from error
    return text


def _text(pattern: str, longest: int) -> Any:
    return StringConstraints(pattern=rf"^(?:{pattern})$", max_length=longest, strict=True)


_Line = Annotated[str, _text(r"[^\x00-\x1f\x7f]*", 2_000)]
_Name = Annotated[str, _text(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", 200)]
_Version = Annotated[str, _text(r"[A-Za-z0-9.!+_-]+", 200), AfterValidator(_version)]
_Hash = Annotated[str, _text(r"sha256:[0-9a-f]{64}", 71)]
_Lines = Annotated[list[_Line], Field(max_length=1_000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Package(_Form):
    name: _Name
    version: _Version
    source: Annotated[str, _text(r"(?:(?:file:|git\+)[^\x00-\x20\x7f]+)?", 2_000)] = ""
    content: Annotated[str, _text(r"(?:sha256:[0-9a-f]{64})?", 71)] = ""
    hashes: Annotated[list[_Hash], Field(min_length=1, max_length=2_000)]

    @model_validator(mode="after")
    def _one_wheel(self) -> _Package:
        if self.source and len(self.hashes) != 1:
            raise ValueError("what comes from a source has one hash, that of its wheel")
        return self

    def value(self) -> LockedPackage:
        wheel = Digest(self.hashes[0].removeprefix("sha256:")) if self.source else None
        content = self.content.removeprefix("sha256:")
        return LockedPackage(self.name, self.version, tuple(sorted(self.hashes)), self.source, wheel, content)


class _Tool(_Form):
    name: Annotated[str, _text(r"[^\x00-\x1f\x7f]+", 500)]
    workflows: Annotated[list[Annotated[str, _text(r"[A-Za-z0-9._-]+", 200)]], Field(min_length=1, max_length=10_000)]
    isolation: Literal["base", "overlay", "process"]
    machine: _Line = ""
    requirements: _Lines = []
    folder: _Line = ""
    base: Annotated[dict[_Name, _Version], Field(max_length=10_000)] = {}
    package: Annotated[list[_Package], Field(max_length=10_000)] = []

    def value(self) -> LockEntry:
        packages = tuple(sorted((p.value() for p in self.package), key=lambda p: p.name))
        if len({p.name for p in packages}) != len(packages):
            raise ValueError(f"{self.name}: a package is listed twice")
        return LockEntry(
            self.name,
            tuple(sorted(self.requirements)),
            self.isolation,
            tuple(sorted(set(self.workflows))),
            self.folder,
            self.machine,
            tuple(sorted(self.base.items())),
            packages,
        )


class _File(_Form):
    format: int
    tool: Annotated[list[_Tool], Field(max_length=10_000)] = []


def read_lock_file(path: Path) -> LockFile | None:
    """Return the lock file of a path; None if there is none.

    Raises:
        DefinitionError: It cannot be read, is too large, or is no lock file that this version knows; names it.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror or error}") from None
    return parse_lock_file(data, path)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would keep us waiting
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refusal(path, "is no file")
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise _refusal(path, f"is larger than {SIZE_LIMIT:,} bytes")
    return data


def parse_lock_file(data: bytes, path: Path) -> LockFile:
    """Return what the bytes of a lock file say. Raises `DefinitionError`, which names the path."""
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _refusal(path, "is no UTF-8 text") from None
    except RecursionError:
        raise _refusal(path, "is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(where[1]), int(where[2])) if where else (0, 0)
        raise _refusal(path, f"is no TOML: {str(error).partition(' (at ')[0]}", line, column) from None
    number = content.get("format")
    if type(number) is not int:
        raise _refusal(path, "is not a lock file of Shoal: it has no `format`")
    if number > FORMAT:
        raise _refusal(path, f"has the format {number}, and this version of Shoal knows {FORMAT} at most")
    try:
        entries = tuple(tool.value() for tool in _File.model_validate(content).tool)
    except ValidationError as error:
        raise _refusal(path, f"is broken: {_first(error)}") from None
    except ValueError as error:
        raise _refusal(path, f"is broken: {error}") from None
    if len({e.key for e in entries}) != len(entries):
        raise _refusal(path, "is broken: a tool is listed twice")
    return LockFile(tuple(sorted(entries, key=lambda e: e.key)), hashlib.sha256(data).hexdigest())


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part + 1 if isinstance(part, int) else part) for part in problem["loc"])
    return f"{where}: {problem['msg']}"


def _refusal(path: Path, message: str, line: int = 0, column: int = 0) -> DefinitionError:
    return DefinitionError.of([Problem(f"{path.name} {message}", str(path), line, column, _HINT)])


def render_lock_file(entries: tuple[LockEntry, ...]) -> str:
    """Return the text of a lock file; the same entries make the same text."""
    tools = ("\n".join(_entry(entry)) + "\n" for entry in sorted(entries, key=lambda e: e.key))
    return "\n".join([f"{_HEADER}format = {FORMAT}\n", *tools])


def _entry(entry: LockEntry) -> Iterator[str]:
    yield "[[tool]]"
    yield f"name = {_string(entry.tool)}"
    yield f"workflows = {_list(entry.workflows)}"
    yield f"isolation = {_string(entry.isolation)}"
    if entry.requirements:
        yield f"requirements = {_list(entry.requirements)}"
    if entry.folder:
        yield f"folder = {_string(entry.folder)}"
    if entry.machine:
        yield f"machine = {_string(entry.machine)}"
    if entry.base:
        yield "base = {" + ", ".join(f"{name} = {_string(version)}" for name, version in entry.base) + "}"
    for package in entry.packages:
        yield ""
        yield "[[tool.package]]"
        yield f"name = {_string(package.name)}"
        yield f"version = {_string(package.version)}"
        if package.source:
            yield f"source = {_string(package.source)}"
        if package.content:
            yield f"content = {_string('sha256:' + package.content)}"
        yield "hashes = [" + "".join(f"\n    {_string(h)}," for h in package.hashes) + "\n]"


def _list(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join(map(_string, texts)) + "]"


def _string(text: str) -> str:
    """Return a basic string of TOML; JSON's escapes are TOML's too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
