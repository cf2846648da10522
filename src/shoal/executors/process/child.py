"""An attempt in a child process of this one: started, watched, ended.

Owns the child from its start until it and every process of its group are gone. The caller's thread is held for that time.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shoal.errors import EnvironmentBuildError, OutOfMemoryError, ShoalError, StepFailedError, WorkerLostError
from shoal.executors import process_tree
from shoal.executors.attempt import Attempt, where
from shoal.executors.process.request import clean_request, hosted_request, is_clean
from shoal.executors.watch import outgrew
from shoal.executors.wire import unpack_completion
from shoal.model.attempts import AttemptCall, Failed, Outcome, Succeeded
from shoal.model.encoding import encode
from shoal.model.masking import without_secrets
from shoal.model.run import Progress
from shoal.ports import BlobStore, ToolInvoker

_DRIVER: Final = str(Path(__file__).with_name("driver.py"))
_TICK: Final = 0.1
_MEMORY_TICK: Final = 0.25
_TERMINATE: Final = 0.5
"""Seconds between SIGTERM and SIGKILL of a child that has not yielded within its grace."""

CHILD_SLACK: Final = 2.0
"""Seconds after its end is due within which an attempt in a child has ended, unless this process is held up."""

_CHUNK: Final = 1 << 16
_INHERITED: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}
)
"""Variables that a clean child has of its parent, beside `LC_*`; everything else is the attempt's own."""


def carry_in_child(attempt: Attempt, *, invoker: ToolInvoker, blobs: BlobStore) -> Outcome:
    """Carry an attempt out in a child process and return what its end means. Never raises."""
    call = attempt.call
    folder = Path(tempfile.mkdtemp(prefix="shoal-attempt-"))
    try:
        clean = is_clean(call)
        request = clean_request(call, blobs, folder) if clean else hosted_request(call, invoker)
        child = _Child(attempt, request, clean=clean)
        child.watch()
        return attempt.judged(child.outcome(blobs))
    except ShoalError as error:
        return Failed(error, (type(error).__name__,), retryable=error.retryable)
    except OSError as error:
        message = f"{where(call)}: its child process could not be started: {error}"
        return Failed(EnvironmentBuildError(message, run_id=call.run_id, step=call.path))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def child_variables(call: AttemptCall, *, clean: bool) -> dict[str, str]:
    """Return the environment variables of a child."""
    if not clean:
        return {**without_secrets(os.environ), **call.env}
    kept = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("LC_")}
    return {**kept, **call.env}


class _Child:
    """The process of one attempt."""

    def __init__(self, attempt: Attempt, request: bytes, *, clean: bool) -> None:
        call = attempt.call
        self._attempt: Final = attempt
        self._request = request
        self._lines = bytearray()
        self._end: Mapping[str, Any] | None = None
        self._verdict: Failed | None = None
        self._told = False
        self._terminated_at: float | None = None
        self._next_look = 0.0
        control_r, self._control = os.pipe()
        self._report, report_w = os.pipe()
        self._output, output_w = os.pipe()
        try:
            self._process: Final = subprocess.Popen(
                [_python(call), "-I", "-u", _DRIVER, str(control_r), str(report_w)],
                stdin=subprocess.DEVNULL,
                stdout=output_w,
                stderr=output_w,
                pass_fds=(control_r, report_w),
                env=child_variables(call, clean=clean),
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            for fd in (control_r, report_w, output_w):
                os.close(fd)

    def watch(self) -> None:
        """Return when the child has ended, and with it every process of its group."""
        selector = selectors.DefaultSelector()
        for fd in (self._control, self._report, self._output):
            os.set_blocking(fd, False)
        selector.register(self._report, selectors.EVENT_READ, self._read_report)
        selector.register(self._output, selectors.EVENT_READ, self._read_output)
        selector.register(self._control, selectors.EVENT_WRITE, self._write_request)
        try:
            while self._process.poll() is None:
                for key, _ in selector.select(_TICK):
                    if not key.data():
                        selector.unregister(key.fd)
                self._look()
        finally:
            self._kill()
            self._process.wait()
            selector.close()
        while self._read_output() or self._read_report():
            pass
        self._close()

    def outcome(self, blobs: BlobStore) -> Outcome:
        """Return what the child came to."""
        call = self._attempt.call
        if self._verdict is not None:
            return self._verdict
        end = self._end
        if end is None:
            return Failed(WorkerLostError(self._last_words(), run_id=call.run_id, step=call.path))
        if "outputs" in end:
            return Succeeded({str(name): encode(value, blobs.put) for name, value in end["outputs"].items()})
        if "packed" in end:
            return unpack_completion(base64.b64decode(end["packed"]))[0].outcome
        return _failure(call, end["error"])

    # ------------------------------------------------------------ pipes: each returns whether more may come

    def _write_request(self) -> bool:
        try:
            self._request = self._request[os.write(self._control, self._request[: 1 << 20]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._request)

    def _read_output(self) -> bool:
        data = _read(self._output)
        if data:
            self._attempt.log.write(data)
        return bool(data)

    def _read_report(self) -> bool:
        data = _read(self._report)
        self._lines += data or b""
        if data and b"\n" not in data:
            return True
        while (end := self._lines.find(b"\n")) >= 0:
            line = bytes(self._lines[:end])
            del self._lines[: end + 1]
            self._take(json.loads(line))
        return bool(data)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "progress" in message:
            done, total, note = message["progress"]
            self._attempt.report(Progress(done, total, note))
        else:
            self._end = message

    # ------------------------------------------------------------ limits

    def _look(self) -> None:
        attempt, now = self._attempt, time.monotonic()
        if not self._told and not self._request and (attempt.canceled or attempt.timed_out):
            self._told = True
            attempt.see()
            try:
                os.write(self._control, b"cancel\n")
            except OSError:
                pass  # it has just ended
        limit = attempt.call.resources.memory
        if limit is not None and now >= self._next_look:
            self._next_look = now + _MEMORY_TICK
            pid = self._process.pid
            if process_tree.private_memory([pid, *process_tree.descendants(pid)]) > limit:
                self._verdict = outgrew(attempt, limit)
                self._kill()
        if attempt.kill_at is not None and now >= attempt.kill_at:
            self._verdict = self._verdict or (attempt.outran() if attempt.timed_out else attempt.stopped())
            self._terminate(now)

    def _terminate(self, now: float) -> None:
        if self._terminated_at is None:
            self._terminated_at = now
            self._signal(signal.SIGTERM)
        elif now >= self._terminated_at + _TERMINATE:
            self._kill()

    def _kill(self) -> None:
        # Those first that left the group for one of their own; afterwards nobody knows whose children they were.
        process_tree.kill(process_tree.descendants(self._process.pid))
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left in the group

    def _close(self) -> None:
        for fd in (self._control, self._report, self._output):
            try:
                os.close(fd)
            except OSError:
                continue

    def _last_words(self) -> str:
        status = self._process.returncode
        how = f"with exit status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"
        return f"the process of {where(self._attempt.call)} ended {how}, without a result"


def _python(call: AttemptCall) -> str:
    return call.environment.python if call.environment is not None else sys.executable


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, _CHUNK)
    except (BlockingIOError, OSError):
        return None


def _failure(call: AttemptCall, error: Mapping[str, Any]) -> Failed:
    names = tuple(error["names"])
    if "MemoryError" in names:
        return Failed(OutOfMemoryError(f"the tool ran out of memory ({error['message']})", step=call.path), names)
    failed = StepFailedError(
        error["message"],
        run_id=call.run_id,
        step=call.path,
        exception=error["exception"],
        traceback=error["traceback"],
    )
    return Failed(failed, names, retryable=bool(error["retryable"]))
