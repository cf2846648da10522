"""What a tool may change of its process, put back as it was.

That is environment variables, cwd, signal handlers, streams, the log level, the recursion limit, the time-out of sockets.

Owns no isolation: what a tool changes holds for the whole process until it is put back.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from _signal import getsignal  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

# `signal.getsignal` makes an enum of each answer, and this is asked after every attempt.
_handler_of: Final = cast("Callable[[int], Any]", getsignal)

_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE")
    if hasattr(signal, name)
)


class Surroundings:
    """A picture of the process, taken when it is made.

    Signal handlers are part of it only in the main thread; elsewhere a tool cannot set them.
    """

    def __init__(self) -> None:
        self._variables: Final = dict(os.environ)
        self._raw: Final = dict(_raw())
        self._cwd: Final = _cwd()
        self._streams: Final = (sys.stdin, sys.stdout, sys.stderr)
        self._umask: Final = _umask()
        self._log_level: Final = logging.getLogger().level
        self._recursion: Final = sys.getrecursionlimit()
        self._patience: Final = socket.getdefaulttimeout()
        self._handlers: Final[dict[int, Any]] = (
            {number: _handler_of(number) for number in _SIGNALS}
            if threading.current_thread() is threading.main_thread()
            else {}
        )

    def restore(self) -> None:
        """Put everything back. Never raises."""
        self.restore_variables()
        if self._cwd and _cwd() != self._cwd:
            try:
                os.chdir(self._cwd)
            except OSError:
                pass  # the folder is gone; there is nothing to go back to
        if _umask() != self._umask:
            os.umask(self._umask)
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        if socket.getdefaulttimeout() != self._patience:
            socket.setdefaulttimeout(self._patience)
        if logging.getLogger().level != self._log_level:
            logging.getLogger().setLevel(self._log_level)
        self._restore_handlers()

    def restore_variables(self) -> None:
        """Put back the environment variables."""
        if _raw() == self._raw:
            return
        for name in os.environ.keys() - self._variables.keys():
            del os.environ[name]
        for name, value in self._variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    def _restore_handlers(self) -> None:
        if not self._handlers:
            return
        for number, handler in self._handlers.items():
            # None: set by C code, which Python can neither name nor set again.
            if handler is not None and _handler_of(number) is not handler:
                signal.signal(number, handler)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def set_variables(variables: Mapping[str, str]) -> None:
    """Add environment variables to this process; one that cannot be set is left out (`invalid_variable` names it)."""
    for name, value in variables.items():
        try:
            os.environ[name] = value
        except ValueError:
            continue


def invalid_variable(variables: Mapping[str, str]) -> str | None:
    """Return the name of a variable that no environment can hold; None: all are well."""
    return next((n for n, v in variables.items() if not n or "=" in n or "\0" in n or "\0" in v), None)


def _raw() -> Mapping[Any, Any]:
    # The encoded mapping inside `os.environ`: to compare it costs a tenth of comparing the mapping itself.
    return cast("Mapping[Any, Any]", vars(os.environ).get("_data", os.environ))


def _cwd() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - called for every attempt; a Path has no use here
    except OSError:
        return None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
