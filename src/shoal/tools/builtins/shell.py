"""The built-in `shell`: a script that stands literally in the workflow, run by sh or bash.

Owns the script's process group: whatever becomes of the attempt or of the worker that carries it, no process of the group
outlives it. A process that the script moves to a session of its own (`setsid`) is out of reach.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, cast

from shoal.errors import NonRetryableError, ShoalError, StepFailedError, StepTimeoutError
from shoal.model.encoding import json_bytes
from shoal.model.masking import without_secrets
from shoal.tools.context import ToolContext

OUTPUT_LIMIT: Final = 10 * 1024 * 1024
"""Bytes kept of each stream; the rest goes to the log only."""

_SHELLS: Final[Mapping[str, tuple[str, ...]]] = {"sh": ("/bin/sh", "-eu"), "bash": ("bash", "-eu", "-o", "pipefail")}
_LOOK_SECONDS: Final = 0.1
_LAST_LINES: Final = 20

# A watcher in the script's own process group. It waits for the end of a pipe whose other end only this process holds, so when
# this process dies, even by SIGKILL, the watcher ends the whole group. It costs one sleeping fork of sh.
_LIFELINE: Final = 'exec 3<&0; { read _ || :; kill -s KILL 0; } <&3 >/dev/null 2>&1 & exec "$@" <"$0" 3<&-'


@dataclass(slots=True)
class _Stream:
    """One output stream of the script: what is kept of it, and where it is shown."""

    shown: IO[str]
    kept: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def add(self, data: bytes) -> None:
        room = OUTPUT_LIMIT - len(self.kept)
        self.kept += data[:room]
        self.truncated = self.truncated or len(data) > room
        self.shown.write(self.decoder.decode(data))  # a character may be cut between two reads

    @property
    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


def shell(
    script: str,
    context: ToolContext,
    *,
    shell: str = "sh",
    cwd: str | None = None,
    stdin: str = "",
    check: bool = True,
    **values: Any,
) -> dict[str, Any]:
    """Run a script and return what it printed.

    Args:
        script: Literal text; values come in as environment variables, never by templating.
        context: Of the attempt.
        shell: `sh` (run with `-eu`) or `bash` (with `-eu -o pipefail`).
        cwd: Where it runs. Default: where the worker stands.
        stdin: Text for its standard input.
        check: Whether an exit code other than 0 fails the step.
        **values: Environment variables: a string as it is, anything else as JSON.

    Returns:
        `stdout`, `stderr` (text, at most 10 MiB each), `exit_code`, and `truncated`: whether more was printed than that.
    """
    if shell not in _SHELLS:
        raise NonRetryableError(f"shell: {shell!r} is not a shell", hint=f"one of {', '.join(_SHELLS)}")
    with tempfile.NamedTemporaryFile(prefix="shoal-stdin-") as given:
        given.write(stdin.encode())
        given.flush()
        command = [given.name, *_SHELLS[shell], "-c", script, shell]
        exit_code, out, err = _run(command, _environment(values), cwd, context)
    if check and exit_code != 0:
        tail = "\n".join(err.text.splitlines()[-_LAST_LINES:])
        raise StepFailedError(f"the script {_ending(exit_code)}" + (f":\n{tail}" if tail else ""))
    return {
        "stdout": out.text,
        "stderr": err.text,
        "exit_code": exit_code,
        "truncated": out.truncated or err.truncated,
    }


def _environment(values: Mapping[str, Any]) -> dict[str, str]:
    variables = without_secrets(os.environ)
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise NonRetryableError(
                f"shell: input {name!r} cannot be an environment variable", hint="use letters, digits and _"
            )
        try:
            variables[name] = value if isinstance(value, str) else json_bytes(value).decode()
        except (TypeError, ValueError):
            raise NonRetryableError(f"shell: input {name!r} is a {type(value).__name__}, which has no JSON form") from None
    return variables


def _run(command: list[str], variables: dict[str, str], cwd: str | None, context: ToolContext) -> tuple[int, _Stream, _Stream]:
    out, err = _Stream(sys.stdout), _Stream(sys.stderr)
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LIFELINE, *command],
            env=variables,
            cwd=cwd,
            stdin=subprocess.PIPE,  # the lifeline: never written to, closed when this process ends
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _refused(error) from error
    with process:
        try:
            _pump(process, out, err, context)
        finally:
            _end_group(process.pid)
    return process.returncode, out, err


def _refused(error: OSError | ValueError) -> ShoalError:
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return NonRetryableError("shell: the values are too large for environment variables", hint="pass large text as `stdin`")
    return NonRetryableError(f"shell: the script could not be started: {error}")


def _pump(process: subprocess.Popen[bytes], out: _Stream, err: _Stream, context: ToolContext) -> None:
    """Read both streams until the script has ended; what it leaves running in the background is not waited for."""
    with selectors.DefaultSelector() as selector:
        for pipe, stream in ((cast("IO[bytes]", process.stdout), out), (cast("IO[bytes]", process.stderr), err)):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, stream)
        while selector.get_map():
            context.check_canceled()
            if context.deadline is not None and time.monotonic() >= context.deadline:
                raise StepTimeoutError("the script outran the step's `timeout`", run_id=context.run_id, step=context.step)
            ended = process.poll() is not None
            ready = selector.select(0 if ended else _LOOK_SECONDS)
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if data:
                    key.data.add(data)
                else:
                    selector.unregister(key.fileobj)
            if ended and not ready:
                return


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _ending(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by signal {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
