"""Carrying out an attempt: load the tool, fill in and check its inputs, call it, encode what it returns.

Owns everything between an `AttemptCall` and its `Outcome`. User code and pickles run here and nowhere else in Shoal.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from shoal.errors import (
    InternalError,
    MissingSecretError,
    NonRetryableError,
    RunCanceledError,
    RunError,
    ShoalError,
    StepFailedError,
    StepTimeoutError,
    ToolResolutionError,
    error_from_json,
)
from shoal.model.attempts import AttemptCall, Continuation, Continued, Failed, Outcome, Succeeded
from shoal.model.encoding import decode, encode, fill
from shoal.model.tools import ToolLock, ToolOptions
from shoal.model.values import Arguments, Hole, Json, SecretText, Value
from shoal.ports import AttemptControl, BlobStore
from shoal.tools.context import LOGGER_NAME, ToolContext, entered
from shoal.tools.continuation import MoreGraph, MoreWork
from shoal.tools.failure import failed, presentable
from shoal.tools.loader import LoadedTool, ToolLoader

_CANCEL_LOOK_SECONDS = 0.1


class LocalToolInvoker:
    """Invokes tools in the thread it is called in. Pickles as its blob store."""

    def __init__(self, blobs: BlobStore, *, loader: ToolLoader | None = None) -> None:
        """Make an invoker.

        Args:
            blobs: Reads and keeps large values.
            loader: Finds tools; another than the usual one does not travel.
        """
        self._blobs = blobs
        self._loader = loader or ToolLoader(blobs)

    def __reduce__(self) -> tuple[Any, ...]:
        return (LocalToolInvoker, (self._blobs,))

    def invoke(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Carry out an attempt."""
        ready = self._prepare(call, control)
        return ready if isinstance(ready, Failed) else self._call(*ready, call)

    async def wait(self, call: AttemptCall, control: AttemptControl) -> Outcome:
        """Carry out an attempt at an async function in the running event loop, beside others. It is cancelled by its task."""
        ready = self._prepare(call, control)
        if isinstance(ready, Failed):
            return ready
        tool, positional, keywords, context = ready
        try:
            with entered(context):
                answer = await tool.function(*positional, **keywords)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is its attempt's failure and no one else's
            return self._ended(error, tool, context, call)
        return self._outcome_of(answer, tool, call)

    def _prepare(
        self, call: AttemptCall, control: AttemptControl
    ) -> tuple[LoadedTool, list[Any], dict[str, Any], ToolContext] | Failed:
        started = time.monotonic()
        try:
            tool = self._loader.load(call.tool)
            raw = tool.dumps is not None
            inputs = fill(call.arguments, lambda hole: hole if raw else self._read(hole, call.secrets))
            context = _context(call, control, tool, started)
            positional, keywords = tool.signature.bind(inputs, context)
        except ShoalError as error:
            return _refused(error, call)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - importing a module and reading a pickle run any code
            return failed(error, call)
        return tool, positional, keywords, context

    def describe(self, tool: ToolLock) -> ToolOptions:
        """Return the explicit Ray options of a tool."""
        try:
            return self._loader.load(tool).options
        except ShoalError:
            raise
        except Exception as error:
            raise ToolResolutionError(f"tool {tool.target} could not be imported: {type(error).__name__}: {error}") from error

    def _call(
        self, tool: LoadedTool, positional: list[Any], keywords: dict[str, Any], context: ToolContext, call: AttemptCall
    ) -> Outcome:
        try:
            with entered(context):
                answer = tool.function(*positional, **keywords)
                if inspect.isawaitable(answer):
                    answer = _run_async(answer, context.cancel_requested)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a tool raises is its attempt's failure and no one else's
            return self._ended(error, tool, context, call)
        return self._outcome_of(answer, tool, call)

    def _ended(self, error: BaseException, tool: LoadedTool, context: ToolContext, call: AttemptCall) -> Failed:
        """Return the outcome for what a tool raised; with the exception itself where its step catches it."""
        outcome = _ended(error, context, call)
        catches = cast("Mapping[str, Json]", call.arguments.tree).get("catch") is True
        if tool.dumps is None or not catches:
            return outcome
        try:
            pair = encode((None, error), self._blobs.put, dumps=tool.dumps)
        except Exception:  # noqa: BLE001 - an exception that does not pickle is told by what is recorded of it
            return outcome
        return replace(outcome, caught=pair)

    def _outcome_of(self, answer: object, tool: LoadedTool, call: AttemptCall) -> Outcome:
        try:
            return self._outcome(answer, tool, call)
        except ShoalError as error:
            return _refused(error, call)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - pickling runs the author's code
            return failed(error, call)

    def _read(self, hole: Hole, secrets: Mapping[str, str]) -> Any:
        match hole:
            case Value():
                return decode(hole, self._blobs.get, trusted=True)
            case SecretText(parts):
                missing = [p.name for p in parts if not isinstance(p, str) and p.name not in secrets]
                if missing:
                    raise MissingSecretError(f"the secret {missing[0]!r} is not provided")
                return "".join(p if isinstance(p, str) else secrets[p.name] for p in parts)
            case _:
                raise InternalError(f"an attempt was called with an unresolved list of items ({hole.path})")

    def _outcome(self, answer: object, tool: LoadedTool, call: AttemptCall) -> Outcome:
        if isinstance(answer, MoreGraph):
            return Continued(Continuation(answer.graph(), Arguments({}), form="model"))
        if tool.dumps is not None:
            return Succeeded({"result": encode(answer, self._blobs.put, dumps=tool.dumps)})
        if isinstance(answer, MoreWork):
            return Continued(self._continuation(answer))
        outputs: Mapping[str, Any] = {"result": answer}
        if isinstance(answer, Mapping) and all(isinstance(key, str) for key in cast("Mapping[object, object]", answer)):
            outputs = cast("Mapping[str, Any]", answer)
        nested = [name for name, value in outputs.items() if isinstance(value, MoreWork)]
        if nested:
            raise StepFailedError(f"output {nested[0]!r} is a continuation", hint="a tool returns its continuation by itself")
        missing = [name for name in call.outputs if name not in outputs]
        if missing:
            raise StepFailedError(
                f"the step declares the output {', '.join(map(repr, missing))} and its tool {call.tool.target} returned "
                f"{', '.join(map(repr, outputs)) or 'none'}",
                hint="name what the tool returns in the step's `outputs`",
            )
        return Succeeded({str(name): self._output(name, value) for name, value in outputs.items()})

    def _output(self, name: str, value: object) -> Value:
        try:
            return encode(value, self._blobs.put)
        except NonRetryableError as error:
            raise NonRetryableError(f"output {name!r} cannot be recorded: {error.message}", hint=error.hint) from error

    def _continuation(self, answer: MoreWork) -> Continuation:
        target: str | dict[str, Json]
        if isinstance(answer.target, str):
            target = answer.target
        else:
            value = encode(dict(answer.target), self._blobs.put)
            if value.codec != "json":
                raise StepFailedError("the workflow of a continuation is not plain JSON", hint="objects belong into its inputs")
            target = cast("dict[str, Json]", decode(value, self._blobs.get, trusted=False))
        tree: dict[str, Json] = {}
        holes: list[tuple[tuple[str | int, ...], Hole]] = []
        for name, given in answer.inputs.items():
            value = encode(given, self._blobs.put)
            if value.codec == "json" and value.data is not None:
                tree[name] = cast("Json", given)
            else:
                tree[name] = None
                holes.append(((name,), value))
        return Continuation(target, Arguments(tree, tuple(holes)), answer.requirements)


def _context(call: AttemptCall, control: AttemptControl, tool: LoadedTool, started: float) -> ToolContext:
    return ToolContext(
        run_id=call.run_id,
        step=call.path,
        attempt=call.number,
        context=copy.deepcopy(call.context) if call.context else {},
        logger=_logger(tool.name),
        deadline=None if call.timeout is None else started + call.timeout.total_seconds(),
        report=control.report,
        cancel_requested=control.canceled,
    )


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to what is stderr at the time of writing, which is the attempt's."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _logger(tool: str) -> logging.Logger:
    root = logging.getLogger(LOGGER_NAME)
    if not root.handlers:
        root.addHandler(_StderrHandler())
        root.setLevel(logging.INFO)
        root.propagate = False
    return root.getChild(tool.replace(".", "_"))


def _run_async(answer: Awaitable[Any], canceled: Callable[[], bool]) -> Any:
    """Run an async tool in a loop of its own; a cancel of the run cancels its task."""

    async def main() -> Any:
        task = asyncio.ensure_future(answer)
        watcher = asyncio.create_task(watch(task))
        try:
            return await task
        finally:
            watcher.cancel()

    async def watch(task: asyncio.Future[Any]) -> None:
        while not canceled():  # noqa: ASYNC110 - the flag is set by another thread and is no asyncio event
            await asyncio.sleep(_CANCEL_LOOK_SECONDS)
        task.cancel()

    with asyncio.Runner() as runner:
        return runner.run(main())


def _ended(error: BaseException, context: ToolContext, call: AttemptCall) -> Failed:
    """Return the outcome for what a tool raised."""
    if isinstance(error, (RunCanceledError, asyncio.CancelledError)) and context.canceled:
        return Failed(RunCanceledError("the run was canceled", run_id=call.run_id, step=call.path), retryable=False)
    if isinstance(error, StepTimeoutError) and context.remaining == 0:
        return Failed(StepTimeoutError(error.message, run_id=call.run_id, step=call.path))
    return failed(error, call)


def _refused(error: ShoalError, call: AttemptCall) -> Failed:
    """Return the outcome for an error of ours: bad inputs, a missing tool, a blob that cannot be read or written."""
    secrets = tuple(call.secrets.values())
    if isinstance(error, NonRetryableError):
        error = StepFailedError(error.message, hint=error.hint)
    fields: dict[str, Any] = {k: presentable(v, secrets) if isinstance(v, str) else v for k, v in error.to_json().items()}
    if isinstance(error, RunError):
        fields |= {"run_id": call.run_id, "step": call.path}
    return Failed(error_from_json(fields), (type(error).__name__,), retryable=error.retryable)
