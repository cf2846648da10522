"""Secrets from the environment or from a file that only its owner can read.

Owns where secrets are looked for. Their values go nowhere but into the calls of attempts; `mask` takes them out of everything
that comes back.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from shoal.errors import InvalidInputError
from shoal.model.masking import PREFIX, mask

__all__ = ["PREFIX", "LocalSecrets", "mask"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class LocalSecrets:
    """Secrets of this host: a variable `SHOAL_SECRET_NAME`, else a line of the file.

    A variable `SHOAL_SECRET_NAME` is the secret `NAME`. Names are compared without regard to case, and `-` counts as `_`:
    `secrets.api-key` is the variable `SHOAL_SECRET_API_KEY`.
    The file is read at each look-up that no variable answers, so a new value needs no restart.

    Args:
        variables: The process's environment variables.
        file: A file of lines `NAME=VALUE`, mode 0600; None: there is none.
    """

    def __init__(self, variables: Mapping[str, str], file: Path | None = None) -> None:
        self._variables = {
            _key(name.removeprefix(PREFIX)): value for name, value in variables.items() if name.startswith(PREFIX)
        }
        self._file = file

    def __repr__(self) -> str:
        return f"LocalSecrets({', '.join(self.names())})"

    def get(self, name: str) -> str | None:
        """Return a secret; None if there is none.

        Raises:
            InvalidInputError: The file is not there, others can read it, or a line of it is not `NAME=VALUE`.
        """
        key = _key(name)
        found = self._variables.get(key)
        return found if found is not None else self._in_file().get(key)

    def names(self) -> Sequence[str]:
        """Return the names there are, in lower case and with `_`; the file is read, and refused as `get` refuses it."""
        return sorted({*self._variables, *self._in_file()})

    def _in_file(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            with open(self._file, encoding="utf-8", opener=_without_waiting) as file:
                mode = os.fstat(file.fileno()).st_mode
                if not stat.S_ISREG(mode):
                    raise InvalidInputError(
                        f"the file of secrets {self._file} is no regular file", hint="it has lines NAME=VALUE"
                    )
                mode = stat.S_IMODE(mode)
                if mode & 0o077:
                    raise InvalidInputError(
                        f"{self._file} holds secrets, and its mode {mode:04o} lets others at them",
                        hint=f"chmod 600 {self._file}",
                    )
                return dict(_parsed(file.read(), self._file))
        except FileNotFoundError:
            raise InvalidInputError(
                f"there is no file of secrets {self._file}",
                hint="SHOAL_SECRETS_FILE names it: make it, with mode 0600, or unset the variable",
            ) from None
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"the file of secrets {self._file} is not UTF-8 text (at byte {error.start})", hint="it has lines NAME=VALUE"
            ) from None
        except OSError as error:
            raise InvalidInputError(
                f"the file of secrets {self._file} cannot be read: {error.strerror}",
                hint="SHOAL_SECRETS_FILE names a file of this user, mode 0600",
            ) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for its writer for ever


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


def _parsed(text: str, file: Path) -> list[tuple[str, str]]:
    """Return names and values of the lines of a file; never a value in an error."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        name = name.removeprefix("export ").strip()
        if not equals or not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{file}:{number}: not a line NAME=VALUE", hint="a name has letters, digits, '_' and '-'; # begins a comment"
            )
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":  # noqa: PLR2004 - a pair of quotes
            value = value[1:-1]
        found.append((_key(name), value))
    return found
