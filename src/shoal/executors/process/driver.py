"""Drives one attempt in a clean child process: the only file of Shoal there, for Python 3.8 and newer, of the standard library.

Started as `python -I -u driver.py CONTROL REPORT`, two inherited descriptors. CONTROL: one line of JSON, the request; then
the line `cancel` sets the cancel flag; its end means that the parent died, and ends this process with its group. REPORT:
lines of JSON: `{"progress": [done, total, note]}`, and last `{"outputs": ...}`, `{"packed": ...}` or `{"error": ...}`.

A tool asks for its context with a parameter named `context` that the step gives no input, or annotated `ToolContext`. Its
inputs and what it returns are JSON; a large input is read from a file that the request names.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.metadata
import inspect
import json
import logging
import math
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from typing import Any

GROUP = "tool.entrypoint"
FINAL = ("NonRetryableError", "ImportError", "SyntaxError")


class RefusedError(Exception):
    """The attempt cannot be carried out, now or later."""


class Context:
    """What a tool may know of its attempt; the attributes of Shoal's `ToolContext`."""

    def __init__(self, request: Any, canceled: threading.Event, send: Any) -> None:
        self.run_id = request["run_id"]
        self.step = request["step"]
        self.attempt = request["attempt"]
        self.context = request["context"]
        self.logger = logging.getLogger("tool")
        timeout = request["timeout"]
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.cancel_requested = canceled.is_set
        self._send = send

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt of this step."""
        return f"{self.run_id}:{self.step}"

    @property
    def canceled(self) -> bool:
        """Whether the tool should end soon."""
        return self.cancel_requested()

    @property
    def remaining(self) -> Any:
        """Seconds until the time-out; None if there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def progress(self, done: float, total: Any = None, note: str = "") -> None:
        """Tell how far the tool is."""
        self._send({"progress": [float(done), None if total is None else float(total), str(note)]})

    def check_canceled(self) -> None:
        """Raise if the attempt is being canceled."""
        if self.canceled:
            raise RuntimeError("the attempt is being canceled")


def main(control: int, report: int) -> None:
    """Carry out the attempt that is read from one descriptor; report to the other."""
    die_with_parent()
    source = os.fdopen(control, "rb")
    lock = threading.Lock()

    def send(message: Any) -> None:
        data = json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(report, data) :]

    request = json.loads(source.readline())
    canceled = threading.Event()
    threading.Thread(target=listen, args=(source, canceled), daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if request["kind"] == "hosted":
            hosted = importlib.import_module("shoal.executors.process.hosted")
            packed = hosted.carry(base64.b64decode(request["call"]), canceled.is_set, send)
            send({"packed": base64.b64encode(packed).decode()})
        else:
            send({"outputs": carry(request, canceled, send)})
    except BaseException as error:  # noqa: BLE001 - whatever a tool raises is its outcome
        send({"error": described(error, request.get("modules"))})


def die_with_parent() -> None:
    """Let the kernel end this process with its parent; where it cannot, the end of CONTROL has to do."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (ImportError, OSError, AttributeError):
        pass


def listen(source: Any, canceled: threading.Event) -> None:
    """Wait for a cancel; end the group with the parent."""
    for line in source:
        if line.strip() == b"cancel":
            canceled.set()
    os.killpg(0, signal.SIGKILL)


def carry(request: Any, canceled: threading.Event, send: Any) -> Any:
    """Load the tool, call it, return its outputs."""
    if request["modules"]:
        sys.path.insert(0, request["modules"])
    found = load(request)
    function = getattr(found, "_function", None)
    function = function if callable(function) else found
    if not callable(function):
        raise RefusedError("the tool {} is not callable".format(request["target"]))
    inputs = filled(request["inputs"], request["holes"])
    call, keywords = bound(function, inputs, Context(request, canceled, send))
    answer = call(**keywords)
    if inspect.isawaitable(answer):
        answer = asyncio.run(awaited(answer))
    outputs: Any = answer if has_names(answer) else {"result": answer}
    missing = [name for name in request["outputs"] if name not in outputs]
    if missing:
        given = ", ".join(map(repr, outputs)) or "none"
        raise RuntimeError(f"the step declares the output {missing[0]!r} and its tool returned {given}")
    for name, value in outputs.items():
        check_json(value, name)
    return outputs


async def awaited(answer: Any) -> Any:
    """Return what an awaitable comes to."""
    return await answer


def load(request: Any) -> Any:
    """Return the object that the request names."""
    target = request["target"]
    if request["load"] == "entry_point":
        return entry_point(target, request["version"]).load()
    module, _, path = target.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError:
        raise RefusedError(f"the module {module!r} has no {path!r}") from None
    return found


def entry_point(target: str, version: Any) -> Any:
    """Return the entry point that is a distribution's tool: the one under its name, else the only one."""
    try:
        distribution = importlib.metadata.distribution(target)
    except importlib.metadata.PackageNotFoundError:
        raise RefusedError(f"the distribution {target} is not installed in the tool's environment") from None
    if version and distribution.version != version:
        raise RefusedError(f"the run is pinned to {target} {version}, its environment has {distribution.version}")
    points = [p for p in distribution.entry_points if p.group == GROUP]
    named = [p for p in points if normal(p.name) == normal(target)]
    if len(named) != 1 and len(points) != 1:
        raise RefusedError(f"the distribution {target} has {len(points)} entry points in the group {GROUP!r}")
    return (named or points)[0]


def normal(name: str) -> str:
    """Return a distribution's normalized name."""
    return name.lower().replace("_", "-").replace(".", "-")


def filled(tree: Any, holes: Any) -> Any:
    """Return the inputs, with the large ones read from their files."""
    for path, hole in holes:
        node = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = read(hole)
    return tree


def read(hole: Any) -> Any:
    """Return what a hole stands for."""
    if "list" in hole:
        return [read(h) for h in hole["list"]]
    if "json" in hole:
        return hole["json"]
    return json.loads(pathlib.Path(hole["file"]).read_bytes())


def bound(function: Any, inputs: Any, context: Context) -> Any:
    """Return the callable and its keywords, the context among them if it is asked for; check that they fit."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function, inputs
    keywords = dict(inputs)
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
        if name not in inputs and (name == "context" or kind.rpartition(".")[2] == "ToolContext"):
            keywords[name] = context
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise RefusedError(f"the inputs do not fit the tool: {error}") from None
    return function, keywords


def class_of(value: Any) -> Any:
    """Return the exact type of a value."""
    return type(value)  # pyright: ignore[reportUnknownVariableType]


def has_names(value: Any) -> bool:
    """Whether a value is a mapping with strings as keys."""
    return issubclass(class_of(value), dict) and all(type(k) is str for k in value)


def check_json(value: Any, where: str) -> None:
    """Raise unless a value comes back from JSON as it is."""
    kind = class_of(value)
    if value is None or kind in (bool, int, str):
        return
    if kind is float and math.isfinite(value):
        return
    if kind is list:
        for index, item in enumerate(value):
            check_json(item, f"{where}[{index}]")
        return
    if kind is dict and has_names(value):
        for key, item in value.items():
            check_json(item, f"{where}.{key}")
        return
    message = (
        "the output {} is of type {}, and a step with isolation: process returns JSON only; "
        "let the tool return a list, a dict or text instead, or use isolation: task"
    )
    raise RefusedError(message.format(where, type(value).__name__))


def described(error: BaseException, modules: Any) -> Any:
    """Return what is told of an exception: strings, without frames of this file and without the name of the zip of modules."""
    names: list[str] = []
    for kind in type(error).__mro__[:-1]:
        names.append(kind.__name__)
        if kind.__module__ != "builtins":
            names.append(f"{kind.__module__}.{kind.__qualname__}")
    if isinstance(error, RefusedError):
        return {"message": str(error), "exception": None, "traceback": None, "names": names, "retryable": False}
    if isinstance(error, SystemExit):
        message = f"the tool ended itself with sys.exit({error.code!r})"
    else:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    lines = traceback.format_exception(type(error), error, frames)
    name = names[1] if len(names) > 1 and names[1].endswith("." + names[0]) else names[0]
    retryable = not any(n in FINAL for n in names)
    text = "".join(lines).replace('File "{}{}'.format(modules, os.sep), 'File "') if modules else "".join(lines)
    return {"message": message, "exception": name, "traceback": text, "names": names, "retryable": retryable}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
