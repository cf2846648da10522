"""A tool's exception as the outcome of its attempt.

Owns what crosses of an exception: strings only, bounded, without secrets and without our own frames, so that nothing an
exception does (refuse to print, to pickle, to end) reaches beyond its attempt.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Final

import shoal
from shoal.errors import NonRetryableError, OutOfMemoryError, ShoalError, StepFailedError
from shoal.model.attempts import AttemptCall, Failed
from shoal.model.masking import mask
from shoal.tools.module_path import with_own_names

MESSAGE_LIMIT: Final = 16 * 1024
TRACEBACK_LIMIT: Final = 64 * 1024
"""Characters kept of a message and of a traceback."""

_NOT_THE_TOOLS: Final = tuple(str(Path(module.__file__ or "").parent) + os.sep for module in (shoal, asyncio))
_USELESS_TO_RETRY: Final = (NonRetryableError, ImportError, SyntaxError)


def failed(error: BaseException, call: AttemptCall) -> Failed:
    """Return the outcome for an exception that a tool raised, or that its module raised when it was imported."""
    secrets = tuple(call.secrets.values())
    names = _names(error)
    message = presentable(_message(error), secrets)
    if isinstance(error, MemoryError):
        memory = OutOfMemoryError(f"the tool ran out of memory ({message})", run_id=call.run_id, step=call.path)
        return Failed(memory, names)
    step_error = StepFailedError(
        message,
        run_id=call.run_id,
        step=call.path,
        exception=qualified_name(type(error)),
        traceback=presentable(_traceback(error), secrets, TRACEBACK_LIMIT),
    )
    return Failed(step_error, names, retryable=not isinstance(error, _USELESS_TO_RETRY))


def presentable(text: str, secrets: Collection[str], limit: int = MESSAGE_LIMIT) -> str:
    """Return text without secrets, at most about `limit` characters, that can be encoded as UTF-8."""
    text = mask(text, secrets)  # before it is shortened: half a secret would not be recognised
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _names(error: BaseException) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for cls in type(error).__mro__[:-1]:
        names[cls.__name__] = None
        names[qualified_name(cls)] = None
    return tuple(names)


def qualified_name(cls: type) -> str:
    """Return the name by which `retry.on` knows an exception class: with its module, but for those that need no import."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _message(error: BaseException) -> str:
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - its __str__ is the author's, and may do anything
        return f"{name}: <its message could not be printed>"
    if isinstance(error, ShoalError):
        return text  # our errors, raised by a tool, say it all by themselves
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> str:
    """Return the tool's own traceback; empty where it would only repeat the message of an error of ours."""
    try:
        own = _of_the_tool(error.__traceback__)
        if own is None and isinstance(error, ShoalError) and _is_alone(error):
            return ""
        report = traceback.TracebackException(type(error), error, own, compact=True)
        return with_own_names("".join(report.format()))
    except BaseException:  # noqa: BLE001 - formatting runs the author's __str__ and __repr__, perhaps at the recursion limit
        return f"Traceback of {type(error).__name__} could not be formatted\n"


def _is_alone(error: BaseException) -> bool:
    return error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)


def _of_the_tool(tb: TracebackType | None) -> TracebackType | None:
    """Leave out the frames through which we (and asyncio, for an async tool) called the tool."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_NOT_THE_TOOLS):
        tb = tb.tb_next
    return tb
