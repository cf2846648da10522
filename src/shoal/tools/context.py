"""What a tool may know of the attempt it runs in.

Owns `ToolContext` and the context variable through which deep code finds it. Imports nothing that is slow to load.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from shoal.errors import NotFoundError, RunCanceledError
from shoal.model.ids import RunId, StepPath, idempotency_key
from shoal.model.run import Progress
from shoal.model.values import Json

LOGGER_NAME: Final = "shoal.tool"

_current: ContextVar[ToolContext] = ContextVar("shoal_tool_context")


def _ignore(_progress: Progress) -> None:
    """Drop a report: the tool runs outside of a run."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """The attempt that a tool runs in.

    A tool asks for it with a parameter annotated `ToolContext`; it is never an input of the step. Everything has a default, so
    that a test can call a tool with a context of its own making.

    Attributes:
        run_id: The run.
        step: The step's path, such as `fetch`, `fetch[3]` or `grow/7`.
        attempt: Number of the attempt, from 1.
        context: The JSON object given with the run; a copy.
        logger: A logger whose lines go to the attempt's log.
        deadline: `time.monotonic()` at which the attempt's time-out strikes; None: it has none.
        report: Where `progress` goes.
        cancel_requested: Whether the cancel flag is set.
    """

    run_id: str = "run"
    step: str = "step"
    attempt: int = 1
    context: Mapping[str, Json] = field(default_factory=dict[str, Json])
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger(LOGGER_NAME), repr=False)
    deadline: float | None = None
    report: Callable[[Progress], None] = field(default=_ignore, repr=False)
    cancel_requested: Callable[[], bool] = field(default=_never, repr=False)

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for every attempt of this step, and differs from that of every other step."""
        return idempotency_key(RunId(self.run_id), StepPath(self.step))

    @property
    def canceled(self) -> bool:
        """Whether the run is being canceled; the tool should end soon, or its process is ended."""
        return self.cancel_requested()

    @property
    def remaining(self) -> float | None:
        """Seconds until the attempt's time-out, never negative; None if it has none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell how far the tool is. Cheap, best effort, shown to people and never relied upon.

        Args:
            done: Units done, of whatever the tool counts.
            total: Units in all; None: unknown.
            note: A few words.
        """
        self.report(Progress(float(done), None if total is None else float(total), str(note)))

    def check_canceled(self) -> None:
        """Raise `RunCanceledError` if the run is being canceled."""
        if self.cancel_requested():
            raise RunCanceledError("the run was canceled", run_id=self.run_id, step=self.step)


def current_context() -> ToolContext:
    """Return the context of the tool that runs in this thread or asyncio task.

    Raises:
        NotFoundError: No tool runs here. A thread that a tool starts by itself does not inherit the context.
    """
    try:
        return _current.get()
    except LookupError:
        raise NotFoundError("no tool is running in this thread") from None


@contextmanager
def entered(context: ToolContext) -> Generator[None]:
    """Make a context the current one for the time of a block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
