"""The progress of a run as plain lines, for logs and pipes: one line a change, progress at most every five seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shoal.cli.spans import clock_text, duration_text, took_text
from shoal.cli.terminal import note, one_line
from shoal.model.run import StepRecord, StepStatus

if TYPE_CHECKING:
    from shoal.client import RunView

PROGRESS_EVERY = 5.0
"""Seconds between two progress lines of one step or build."""

_Said = tuple[str, int]


class PlainLines:
    """Writes a line for every change of the run or of a step of it."""

    def __init__(
        self,
        write: Callable[[str], None] = note,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._now = now
        self._monotonic = monotonic
        self._run = ""
        self._steps: dict[str, _Said] = {}
        self._progress: dict[str, tuple[float, str]] = {}

    def __enter__(self) -> PlainLines:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """End."""

    def update(self, view: RunView) -> None:
        """Write what is new in a view."""
        run = view.run
        if run.shown_status != self._run and not run.status.ended:
            self._say(f"run {run.id} of {run.workflow_id} {run.shown_status}")
        for name, progress in view.builds.items():
            self._say_progress(f"environment of {name}", progress.done, progress.total, progress.note)
        for step in view.steps:
            self._update_step(step)
        if run.shown_status != self._run and run.status.ended:
            span = took_text(run.started_at, run.finished_at, self._now())
            self._say(f"run {run.id} {run.shown_status}" + (f" ({span})" if span else ""))
        self._run = run.shown_status

    def _update_step(self, step: StepRecord) -> None:
        said: _Said = (_state(step), step.attempts)
        before = self._steps.get(step.path)
        if said != before and not (before is None and said[0] == StepStatus.PENDING):
            self._say(self._step_text(step))
        self._steps[step.path] = said
        if step.status is not StepStatus.RUNNING:
            return
        if step.items is not None and step.items.total:
            counts = step.items
            done = counts.succeeded + counts.failed + counts.skipped + counts.canceled
            self._say_progress(f"step {step.path}", done, counts.total, f"{counts.failed} failed" if counts.failed else "")
        elif step.progress is not None:
            self._say_progress(f"step {step.path}", step.progress.done, step.progress.total, step.progress.note)

    def _step_text(self, step: StepRecord) -> str:
        parts = [f"step {step.path} {_state(step)}"]
        span = took_text(step.started_at, step.finished_at, self._now()) if step.status.ended else ""
        if span:
            parts.append(f"({span})")
        if step.attempts > 1:
            parts.append(f"attempt {step.attempts}")
        if _state(step) == "retrying" and step.wake_at is not None:
            parts.append(f"in {duration_text(step.wake_at - self._now())}")
        if step.skip_reason:
            parts.append(f"({step.skip_reason.replace('_', ' ')})")
        text = " ".join(parts)
        return f"{text}: {one_line(step.error.message)}" if step.error is not None else text

    def _say_progress(self, subject: str, done: float, total: float | None, remark: str) -> None:
        amount = f"{done:g}/{total:g}" if total else f"{done:g}"
        text = f"{subject} {amount}" + (f" {one_line(remark)}" if remark else "")
        now = self._monotonic()
        at, before = self._progress.get(subject, (now - PROGRESS_EVERY, ""))
        if text != before and now - at >= PROGRESS_EVERY:
            self._progress[subject] = (now, text)
            self._say(text)

    def _say(self, text: str) -> None:
        self._write(f"{clock_text(self._now())} {text}")


def _state(step: StepRecord) -> str:
    return "retrying" if step.status is StepStatus.PENDING and step.attempts else step.status.value
