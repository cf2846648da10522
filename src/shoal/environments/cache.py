"""The environments that stand on this node.

Owns the folder that holds them: one per key, whole or not there; who may build, who uses one, and which ones make room. Runs on
the node, in the base environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shoal.environments.notes import locked

READY: Final = ".shoal.json"
"""Note in a built environment: what is in it, its bytes, when it was built. Its mtime is when it was last asked for."""

IN_USE: Final = ".shoal-in-use"
"""File that each process of an environment holds locked, shared, as long as it lives."""

_YOUNG_SECONDS: Final = 600.0
"""What was asked for within that time is not evicted: its processes may be about to start."""

_LEFT_SECONDS: Final = 6 * 3600.0
"""A temporary folder of a resolution that old was left by a process that was killed."""


@dataclass(frozen=True, slots=True)
class StandingEnvironment:
    """An environment that stands on this node.

    Attributes:
        packages: `name==version` of what it holds beside the base environment.
        size: Bytes; files that uv links from its cache count too.
        asked: When it was last asked for; seconds since 1970.
        digest: Of its lock.
        kind: `overlay` or `process`.
        tools: Names of the tools among its packages.
        built: When it was built; seconds since 1970.
    """

    key: str
    packages: tuple[str, ...]
    size: int
    asked: float
    digest: str = ""
    kind: str = "overlay"
    tools: tuple[str, ...] = ()
    built: float = 0.0


@dataclass(frozen=True, slots=True)
class EnvironmentFolder:
    """The environments of one node.

    Attributes:
        root: The folder.
        limit: Bytes above which unused environments are removed, the longest unused first.
    """

    root: Path
    limit: int

    def path(self, key: str) -> Path:
        """Return where the environment of a key stands, if it does."""
        return self.root / key

    def python(self, key: str) -> Path:
        """Return the interpreter of an environment."""
        return self.path(key) / "bin" / "python"

    def ready(self, key: str) -> bool:
        """Return whether an environment stands, and note that it was asked for."""
        try:
            os.utime(self.path(key) / READY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def new_folder(self, key: str) -> Path:
        """Return a name for a build, and remove what killed builds left; the caller holds the right to build the key.

        The name is new each time: the uv of a killed build may live on for a moment and still write into its own.
        """
        for left in self.root.glob(f".new-{key}-*"):
            shutil.rmtree(left, ignore_errors=True)
        self.sweep()
        return self.root / f".new-{key}-{os.urandom(4).hex()}"

    def sweep(self) -> None:
        """Remove what builds and removals that were killed left; what is under way is not touched."""
        for left in (*self.root.glob(".new-*"), *self.root.glob(".gone-*")):
            key = left.name.split("-")[1]
            with contextlib.suppress(OSError), locked(self.root / "locks" / key, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(left, ignore_errors=True)
        for left in self.root.glob(".lock-*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def write_note(self, folder: Path, content: Mapping[str, object]) -> None:
        """Write the note that makes a folder an environment; it becomes one when it is renamed to its key."""
        size = sum(e.stat(follow_symlinks=False).st_blocks * 512 for e in folder.rglob("*"))
        (folder / IN_USE).touch()
        (folder / READY).write_text(json.dumps({**content, "bytes": size, "built": time.time()}))

    def hold(self, key: str) -> int | None:
        """Keep an environment from being removed until the descriptor that is returned is closed; None: it does not stand."""
        path = self.path(key) / IN_USE
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # whoever holds it alone looks at it, or removes it: both are short
            if os.path.samestat(os.fstat(descriptor), path.stat()):  # else it was removed between the two
                return descriptor
        except OSError:
            pass
        if descriptor >= 0:
            os.close(descriptor)
        return None

    @contextlib.contextmanager
    def building(self, key: str) -> Generator[None]:
        """Hold the right to build or remove an environment; waits for whoever holds it, in any process of this node."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with locked(locks / key, fcntl.LOCK_EX) as _:
            yield

    def make_room(self, keep: str) -> list[str]:
        """Remove unused environments until the limit holds; return their keys. The one to keep is never removed."""
        standing = self.standing()
        total = sum(e.size for e in standing)
        removed: list[str] = []
        for environment in standing:
            if total <= self.limit:
                break
            key = environment.key
            if key != keep and time.time() - environment.asked > _YOUNG_SECONDS and self._remove(key):
                removed.append(key)
                total -= environment.size
        return removed

    def standing(self) -> tuple[StandingEnvironment, ...]:
        """Return the environments that stand, the longest unused first."""
        found: list[StandingEnvironment] = []
        for folder in self.root.glob("[!.]*"):
            with contextlib.suppress(OSError, ValueError, KeyError):  # removed just now, or no environment
                note = folder / READY
                content = json.loads(note.read_text())
                environment = StandingEnvironment(
                    folder.name,
                    tuple(map(str, content["packages"])),
                    int(content["bytes"]),
                    note.stat().st_mtime,
                    str(content.get("digest", "")),
                    str(content.get("kind", "overlay")),
                    tuple(map(str, content.get("tools", ()))),
                    float(content.get("built", 0.0)),
                )
                found.append(environment)
        return tuple(sorted(found, key=lambda e: e.asked))

    def prune(
        self, *, older_than: float | None, max_size: int | None, dry_run: bool = False
    ) -> tuple[StandingEnvironment, ...]:
        """Remove environments that no process uses, the longest unused first, and what killed builds left; return which.

        Args:
            older_than: Those not asked for within so many seconds go; None: none for their age.
            max_size: Of the rest so many go that the others take at most these bytes; None: none for their size.
            dry_run: Only return what would go.
        """
        if not dry_run:
            self.sweep()
        standing = self.standing()
        total = sum(e.size for e in standing)
        removed: list[StandingEnvironment] = []
        for environment in standing:
            too_old = older_than is not None and time.time() - environment.asked > older_than
            too_much = max_size is not None and total > max_size
            if not (too_old or too_much):
                continue
            if not self.in_use(environment.key) if dry_run else self._remove(environment.key):
                removed.append(environment)
                total -= environment.size
        return tuple(removed)

    def in_use(self, key: str) -> bool:
        """Return whether a process uses an environment, or someone is busy with it."""
        try:
            with self._alone(key):
                return False
        except OSError:
            return True

    @contextlib.contextmanager
    def _alone(self, key: str) -> Generator[None]:
        """Hold an environment that nobody uses or is busy with. Raises `OSError` if somebody does."""
        mode = fcntl.LOCK_EX | fcntl.LOCK_NB
        with locked(self.root / "locks" / key, mode), locked(self.path(key) / IN_USE, mode):
            yield

    def _remove(self, key: str) -> bool:
        """Remove an environment unless a process uses it or someone is busy with it."""
        try:
            with self._alone(key):
                doomed = self.root / f".gone-{key}"
                self.path(key).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
        except OSError:
            return False
        return True
