"""The tools that the conformance suite of executors calls, and the invoker that calls them.

Owns no way to find tools: an attempt names a function of this module. An executor's workers must be able to import it.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoal.errors import NonRetryableError, StepFailedError
from shoal.model.attempts import AttemptCall, Failed, Outcome, Succeeded
from shoal.model.encoding import decode, encode, fill
from shoal.model.run import Progress
from shoal.model.tools import ToolLock, ToolOptions
from shoal.model.values import Hole, SecretName, SecretText, Value
from shoal.ports import AttemptControl, BlobStore

_log = logging.getLogger("suite")


class SuiteInvoker:
    """Calls the function of this module that a tool lock's target names (`module:function`; only the function counts)."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def invoke(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Carry out an attempt."""
        outcome = self._invoke(call, control)
        return asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome

    async def wait(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Carry out an attempt at an async function."""
        outcome = self._invoke(call, control)
        return await outcome if inspect.iscoroutine(outcome) else outcome

    async def _encoded(self, result: Any) -> Outcome:
        return Succeeded({"result": encode(await result, self._blobs.put)})

    def _invoke(self, call: AttemptCall, control: AttemptControl) -> Any:
        function: Callable[..., Any] = globals()[call.tool.target.rpartition(":")[2]]

        def read(hole: Hole) -> Any:
            if isinstance(hole, SecretText):
                return "".join(call.secrets[p.name] if isinstance(p, SecretName) else p for p in hole.parts)
            assert isinstance(hole, Value)
            return decode(hole, self._blobs.get, trusted=True)

        try:
            result = function(control, call, **fill(call.arguments, read))
        except NonRetryableError as error:
            return Failed(error, ("NonRetryableError",), retryable=False)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is its outcome
            names = tuple(c.__name__ for c in type(error).__mro__)
            text = "".join(traceback.format_exception(error))
            failed = StepFailedError(str(error), step=call.path, exception=names[0], traceback=text)
            return Failed(failed, exception_names=names)
        if inspect.iscoroutine(result):
            return self._encoded(result)
        return Succeeded({"result": encode(result, self._blobs.put)})

    def describe(self, tool: ToolLock) -> ToolOptions:
        """Return no options."""
        del tool
        return ToolOptions()


def echo(_control: AttemptControl, _call: AttemptCall, value: Any = None) -> Any:
    """Return the input."""
    return value


async def linger(control: AttemptControl, _call: AttemptCall, door: str) -> int:
    """Wait for a file, and return the process id."""
    while not Path(door).exists() and not control.canceled():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.02)
    return os.getpid()


def fail(_control: AttemptControl, _call: AttemptCall, message: str) -> None:
    """Raise."""
    raise LookupError(message)


def leave(_control: AttemptControl, _call: AttemptCall, status: int, *, hard: bool) -> None:
    """End the process: by `sys.exit`, or at once."""
    if hard:
        os._exit(status)
    sys.exit(status)


def crash(_control: AttemptControl, _call: AttemptCall) -> None:
    """Die of a segmentation fault."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def wait(
    control: AttemptControl, _call: AttemptCall, seconds: float, *, yields: bool, mark: str = "", child: bool = False
) -> str:
    """Wait; look at the cancel flag if `yields`; write the process ids (its own and a child's) to the file `mark`."""
    pids = [os.getpid()]
    if child:
        pids.append(subprocess.Popen(["sleep", "600"]).pid)
    if mark:
        Path(mark + ".new").write_text(" ".join(map(str, pids)))
        Path(mark + ".new").rename(mark)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if yields and control.canceled():
            return "partial"
        time.sleep(0.01)
    return "done"


def hog(_control: AttemptControl, _call: AttemptCall, mark: str) -> None:
    """Hold the interpreter's lock for hours: no other thread of the process runs."""
    Path(mark).write_text(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


def grow(_control: AttemptControl, _call: AttemptCall, size: int, seconds: float) -> int:
    """Hold `size` bytes for a time."""
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(seconds)
    return len(held)


def chatter(_control: AttemptControl, _call: AttemptCall, size: int) -> None:
    """Print `size` bytes in lines."""
    line = "x" * 1023
    for _ in range(size // 1024):
        print(line)  # noqa: T201 - printing is what is tested


def say(_control: AttemptControl, _call: AttemptCall, text: str, seconds: float = 0.0) -> None:
    """Print to both streams and log, a piece at a time."""
    for character in text:
        sys.stdout.write(character)
        sys.stdout.flush()
    print()  # noqa: T201
    print(text, file=sys.stderr)  # noqa: T201
    _log.warning("logged %s", text)
    time.sleep(seconds)


def shout(_control: AttemptControl, _call: AttemptCall, text: str) -> None:
    """Print from a child process and from C."""
    subprocess.run(["echo", f"child {text}"], check=True)
    libc = ctypes.CDLL(None)
    libc.puts(f"c {text}".encode())
    libc.fflush(None)


def bellow(_control: AttemptControl, _call: AttemptCall, size: int) -> None:
    """Print `size` bytes from C while holding the interpreter's lock."""
    libc = ctypes.PyDLL(None)
    libc.puts(b"x" * (size - 1))
    libc.fflush(None)


def work(control: AttemptControl, _call: AttemptCall, steps: int, seconds: float) -> None:
    """Report progress."""
    for done in range(steps):
        control.report(Progress(done + 1, steps, f"step {done + 1}"))
        time.sleep(seconds)


def disturb(_control: AttemptControl, _call: AttemptCall, folder: str) -> None:
    """Change everything of the process that can be changed."""
    os.chdir(folder)
    os.environ["SUITE_LEFT"] = "behind"
    os.environ.pop("PATH", None)
    sys.stdout = io.StringIO()
    logging.getLogger().setLevel(logging.CRITICAL)


def look(_control: AttemptControl, _call: AttemptCall, names: list[str]) -> dict[str, Any]:
    """Return environment variables and cwd."""
    return {"cwd": str(Path.cwd()), "env": {n: os.environ.get(n) for n in names}}


def leak(_control: AttemptControl, _call: AttemptCall, secret: str, *, raises: bool) -> str:
    """Print, report and raise or return a secret, also split over two writes."""
    middle = len(secret) // 2
    sys.stdout.write(f"it is {secret[:middle]}")
    sys.stdout.flush()
    sys.stdout.write(f"{secret[middle:]}!\n")
    sys.stdout.flush()
    if raises:
        raise ValueError(f"wrong secret {secret}")
    return secret


def append(_control: AttemptControl, call: AttemptCall, file: str) -> None:
    """Add a line with the attempt's id to a file."""
    with Path(file).open("a") as out:
        out.write(f"{call.attempt_id}\n")


def whereabouts(_control: AttemptControl, call: AttemptCall, seconds: float = 0.0, *, ends: bool = False) -> dict[str, Any]:
    """Return the process that carries it, and after `seconds`; `ends` takes the process along on a first attempt."""
    time.sleep(seconds)
    if ends and call.number == 1:
        os._exit(1)
    return {"pid": os.getpid(), "process": Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()}


def cut(_control: AttemptControl, _call: AttemptCall, name: str) -> int:
    """Close every socket of the process that is connected to a path with a last part `name`; return how many."""
    closed = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not entry.readlink().as_posix().startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as found:
                path = found.getpeername() if found.family == socket.AF_UNIX else ""
            if isinstance(path, str) and path.endswith(f"/{name}"):
                os.close(int(entry.name))
                closed += 1
        except OSError:
            continue
    return closed
