"""Direct references (`name @ file:./path`, `name @ git+...`) as wheels that are kept by their digest.

Owns the build of a wheel from a folder, an archive or a git repository, and the note of what was built from which content, so
that an unchanged source is built once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urldefrag

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from shoal.environments.base import machine
from shoal.environments.notes import locked, write_whole
from shoal.environments.uv import Uv, UvFailedError, shortened, without_credentials
from shoal.errors import IndexUnavailableError, NotFoundError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.ports import BlobStore

_ARCHIVES: Final = (".tar.gz", ".zip", ".tgz")
_LEFT_OUT: Final = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", "node_modules"})
_GIT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class BuiltSource:
    """A wheel built from a direct reference.

    Attributes:
        requirement: The name with its extras, as it was required.
        version: Of the wheel.
        file_name: A valid name for the wheel.
        digest: SHA-256 of the wheel, which is a durable blob.
        origin: The reference as written; for git with the commit.
        data: The wheel.
        content: SHA-256 over what a `file:` reference names.
    """

    requirement: str
    version: str
    file_name: str
    digest: Digest
    origin: str
    data: bytes
    content: str = ""


def build_source(requirement: Requirement, *, base_dir: str | None, blobs: BlobStore, uv: Uv) -> BuiltSource:
    """Return the wheel of a direct reference, built if its content was not built before.

    Args:
        requirement: With a URL: `file:`, `git+...`, or `http(s):` of a wheel or archive.
        base_dir: What a relative path is relative to.
        blobs: Keeps the wheel.
        uv: Builds it; its folder keeps the notes.

    Raises:
        ToolResolutionError: There is nothing there, it does not build, or it is another package.
        IndexUnavailableError: What it needs could not be reached.
    """
    url = requirement.url or ""
    content = ""
    if url.startswith("git+"):
        data, origin = _from_git(url, blobs, uv)
    elif url.startswith("file:") or "://" not in url:
        path = _local_path(url, base_dir)
        content = _content_of(path)
        data, origin = _from_path(path, content, blobs, uv), url
    else:
        raise ToolResolutionError(f"{requirement.name} @ {url}: only file: and git+ references are built", hint="use an index")
    name, version, file_name = _identity(data, url)
    if canonicalize_name(name) != canonicalize_name(requirement.name):
        raise ToolResolutionError(f"{url} is the package {name}, not {requirement.name}", hint=f"write {name} @ {url}")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return BuiltSource(f"{name}{extras}", version, file_name, blobs.put(data), origin, data, content)


def content_of(url: str, base_dir: str | None) -> str:
    """Return a SHA-256 over what a `file:` reference names. Raises `ToolResolutionError` if there is no such thing."""
    return _content_of(_local_path(url, base_dir))


def at_commit(url: str, origin: str) -> str | None:
    """Return a `git+` reference with the commit that the origin of a wheel names; None if it names none."""
    commit = re.search(r"@([0-9a-f]{40})(?:#|\Z)", origin)
    if commit is None:
        return None
    head, _ = _repository(url)
    fragment = url.partition("#")[2]
    return f"git+{head}@{commit[1]}" + (f"#{fragment}" if fragment else "")


def is_relative(url: str) -> bool:
    """Return whether a reference is relative to the workflow file."""
    if not url.startswith("file:"):
        return False
    rest = unquote(urldefrag(url).url.removeprefix("file:"))
    return not rest.startswith("/") or rest.startswith(("//./", "//../"))


def _local_path(url: str, base_dir: str | None) -> Path:
    """Return the path of a `file:` reference; `file:///x` and `file:/x` are absolute, `file:./x` and `file:x` relative."""
    text = unquote(urldefrag(url).url.removeprefix("file:"))
    if text.startswith("//"):
        host, _, rest = text.removeprefix("//").partition("/")
        text = f"{host}/{rest}" if host in (".", "..") else f"/{rest}"
    path = Path(text)
    if not path.is_absolute():
        if base_dir is None:
            raise ToolResolutionError(f"{url} is relative, and the workflow came from no file", hint="use an absolute path")
        path = Path(base_dir) / path
    if not path.exists():
        raise ToolResolutionError(f"{url}: there is nothing at {path}")
    return path


def _from_path(path: Path, content: str, blobs: BlobStore, uv: Uv) -> bytes:
    if path.suffix == ".whl":
        return path.read_bytes()
    if path.is_file() and not path.name.endswith(_ARCHIVES):
        raise ToolResolutionError(f"{path} is no wheel, no source archive and no folder")
    if path.is_dir() and not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise ToolResolutionError(f"{path} is no Python project: it has no pyproject.toml")
    return _noted(content, blobs, uv, lambda: _build(path, uv))


def _content_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else _content(path)


def _content(folder: Path) -> str:
    """Return a digest of all files of a folder that a build may read."""
    digest = hashlib.sha256()
    for path in _walk(folder):
        digest.update(str(path.relative_to(folder)).encode("utf-8", "surrogateescape") + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _LEFT_OUT or entry.name.endswith((".egg-info", ".pyc")):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _build(path: Path, uv: Uv) -> bytes:
    """Build a wheel, in a folder of its own: the source is not written to but by its own build backend."""
    with tempfile.TemporaryDirectory(prefix="shoal-wheel-") as out:
        try:
            flags = ["--wheel", "--out-dir", out, "--python", uv.python, "--quiet", *uv.settings.flags]
            uv.run(["build", *flags, str(path)], Path(out))
        except UvFailedError as error:
            raise ToolResolutionError(f"{path} does not build: {error.words}") from None
        wheels = sorted(Path(out).glob("*.whl"))
        if len(wheels) != 1:
            raise ToolResolutionError(f"{path} built {len(wheels)} wheels; one was expected")
        return wheels[0].read_bytes()


def _from_git(url: str, blobs: BlobStore, uv: Uv) -> tuple[bytes, str]:
    """Return the wheel of a `git+URL[@REF][#subdirectory=PATH]`, and the reference with the commit that REF was."""
    fragment = url.partition("#")[2]
    head, ref = _repository(url)
    options = dict(part.split("=", 1) for part in fragment.split("&") if "=" in part)
    subdirectory = unquote(options.get("subdirectory", ""))
    commit = _commit(head, ref)
    origin = f"git+{without_credentials(head)}@{commit}" + (f"#{fragment}" if fragment else "")
    return _noted(origin, blobs, uv, lambda: _clone_and_build(head, commit, subdirectory, uv)), origin


def _repository(url: str) -> tuple[str, str]:
    """Return the address of the repository of a `git+` reference, and the tag, branch or commit; `HEAD` if none is given."""
    address = url.removeprefix("git+").partition("#")[0]
    head, at, ref = address.rpartition("@")
    if not at or "/" not in head.partition("://")[2] or "/" in ref.partition("://")[2]:
        return address, "HEAD"
    return head, ref


def _commit(repository: str, ref: str) -> str:
    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return ref
    lines = [line.split("\t") for line in _git("ls-remote", "--", repository, ref, f"{ref}^{{}}").splitlines() if "\t" in line]
    by_name = {name: commit for commit, name in lines}
    names = (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", ref)
    for name in names:  # an annotated tag stands for the commit it points to
        if name in by_name:
            return by_name[name]
    raise ToolResolutionError(
        f"the repository {repository} has no tag or branch {ref!r}", hint="a commit is given by its 40 hexadecimal digits"
    )


def _clone_and_build(repository: str, commit: str, subdirectory: str, uv: Uv) -> bytes:
    with tempfile.TemporaryDirectory(prefix="shoal-git-") as folder:
        tree = Path(folder) / "tree"
        _git("init", "--quiet", str(tree))
        try:
            _git("-C", str(tree), "fetch", "--quiet", "--depth", "1", "--", repository, commit)
        except ToolResolutionError:  # not every server gives out a commit by its digest
            _git("-C", str(tree), "fetch", "--quiet", "--tags", "--", repository, "+refs/heads/*:refs/remotes/origin/*")
        _git("-C", str(tree), "checkout", "--quiet", "--detach", commit, "--")
        source = (tree / subdirectory).resolve()
        if not source.is_relative_to(tree.resolve()) or not source.is_dir():
            raise ToolResolutionError(f"{repository} has no folder {subdirectory!r}")
        return _build(source, uv)


def _git(*arguments: str) -> str:
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolResolutionError(f"git could not be run: {error}", hint="install git, or use a wheel") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    words = shortened(done.stderr.decode("utf-8", "replace"))
    if re.search(r"Could not resolve host|Failed to connect|Connection refused|timed out", words):
        raise IndexUnavailableError(f"git: {words}")
    raise ToolResolutionError(f"git: {words}")


def _noted(content: str, blobs: BlobStore, uv: Uv, build: Callable[[], bytes]) -> bytes:
    """Return the wheel that was built from a content, built now if there is no note of it, or its blob is gone.

    Of several callers on this host one builds, and the others wait for it.
    """
    key = hashlib.sha256("\0".join((content, uv.python, *machine())).encode()).hexdigest()
    note = uv.root / "sources" / f"{key}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    with locked(note.with_suffix(".lock"), fcntl.LOCK_EX):
        try:
            return blobs.get(Digest(json.loads(note.read_text())["wheel"]))
        except (OSError, ValueError, KeyError, NotFoundError):
            pass
        data = build()
        write_whole(note, json.dumps({"wheel": blobs.put(data)}).encode())
        return data


def _identity(data: bytes, origin: str) -> tuple[str, str, str]:
    """Return name, version and a valid file name of a wheel, from what it holds."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as wheel:
            info = next(n.partition("/")[0] for n in wheel.namelist() if n.partition("/")[0].endswith(".dist-info"))
            metadata = _headers(wheel.read(f"{info}/METADATA").decode())
            tags = [tuple(t.split("-")) for t in _headers(wheel.read(f"{info}/WHEEL").decode())["tag"]]
        name, version = metadata["name"][0], metadata["version"][0]
        parts = [".".join(dict.fromkeys(tag[i] for tag in tags)) for i in range(3)]
        file_name = "-".join([info.removesuffix(".dist-info"), *parts]) + ".whl"
        parse_wheel_filename(file_name)
    except (zipfile.BadZipFile, StopIteration, KeyError, IndexError, UnicodeDecodeError, InvalidWheelFilename) as error:
        raise ToolResolutionError(f"{origin} is not a wheel that can be read: {error!r}") from None
    if "/" in file_name:  # it becomes a path
        raise ToolResolutionError(f"{origin} is not a wheel that can be read: it is called {file_name!r}")
    return name, version, file_name


def _headers(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip().lower(), []).append(value.strip())
    return found


def stored_wheel(digest: Digest, blobs: BlobStore) -> tuple[str, bytes]:
    """Return file name and content of a kept wheel. Raises `NotFoundError`."""
    data = blobs.get(digest)
    return _identity(data, digest)[2], data
