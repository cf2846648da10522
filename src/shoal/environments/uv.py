"""Running uv. Owns the call, and what its failures mean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uv import find_uv_bin

from shoal.environments.index_settings import IndexSettings
from shoal.errors import EnvironmentBuildError, IndexUnavailableError

_WORDS_LIMIT: Final = 1_500
_UNREACHABLE: Final = re.compile(
    r"error sending request|client error \(Connect\)|dns error|Connection refused|operation timed out|request timed out"
    r"|HTTP status server error|network was disabled|Network connectivity is disabled|error trying to connect"
    r"|invalid peer certificate",
    re.IGNORECASE,
)
_OF_RESOLUTIONS: Final = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE")
"""Variables that have had their say when a lock was made, and that `--require-hashes` would refuse."""

_ELSEWHERE: Final = ("VIRTUAL_ENV", "UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT", "UV_WORKING_DIR")
"""Variables that would send uv to another interpreter or folder than it is told."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")


class UvFailedError(Exception):
    """uv ended with an error that is about packages and not about the network. Never leaves this package."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class Uv:
    """uv as it is called on this node.

    Attributes:
        root: Folder of the environments; also keeps what is noted between calls.
        settings: Where packages are found.
        python: Interpreter that locks and builds are for.
    """

    root: Path
    settings: IndexSettings
    python: str = sys.executable

    def run(self, arguments: Sequence[str], folder: Path, *, locked: bool = False, timeout: float = 1800.0) -> str:
        """Run uv to its end and return what it wrote to stdout.

        Args:
            arguments: Of uv.
            folder: Where it runs; settings of a project around the caller do not apply.
            locked: Whether it installs what a lock names, and resolves nothing.
            timeout: Seconds.

        Raises:
            UvFailedError: It failed; with its own words, shortened.
            IndexUnavailableError: It failed because no index could be reached.
            EnvironmentBuildError: uv itself cannot be run.
        """
        # uv needs this process's own variables (PATH, HOME, proxies, its UV_*): they are handed on whole, not looked into
        variables = {**os.environ, **self.settings.variables, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        for name in (*_ELSEWHERE, *(_OF_RESOLUTIONS if locked else ())):
            variables.pop(name, None)
        try:
            done = subprocess.run(
                [find_uv_bin(), *arguments],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=timeout,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentBuildError(f"uv could not be run: {error}", hint="see `shoal doctor`") from error
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
        words = shortened(done.stderr.decode("utf-8", "replace"))
        if _UNREACHABLE.search(words):
            raise IndexUnavailableError(
                f"the package index could not be reached: {words}",
                hint="check the network, or UV_DEFAULT_INDEX, UV_FIND_LINKS and pip's settings",
            )
        raise UvFailedError(words)


def shortened(text: str) -> str:
    """Return uv's own words on one line: without its labels, its progress, and the credentials of an index."""
    lines = [re.sub(r"^\s*(error|cause|hint|warning|[x×]|[├╰]─▶|│)?:?\s+", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Using Python", "Resolved ", "Prepared ", "Building "))]
    words = without_credentials(" ".join(lines))
    return words if len(words) <= _WORDS_LIMIT else words[:_WORDS_LIMIT] + " ..."


def without_credentials(text: str) -> str:
    """Return text in which user and password of every URL are stars."""
    return _CREDENTIALS.sub("***@", text)
