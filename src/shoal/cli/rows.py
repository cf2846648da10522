"""What the live tree says of each step, and which steps it shows when there are more than the screen has lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shoal.cli.spans import duration_text, took_text
from shoal.cli.terminal import one_line, plain
from shoal.model.ids import StepPath, top_level
from shoal.model.run import ItemCounts, Progress, StepRecord, StepStatus

if TYPE_CHECKING:
    from shoal.client import RunView

DETAIL = "detail"
"""State of a row that belongs to the one above it."""

_RANK = {"failed": 0, "running": 1, "retrying": 1, "waiting": 2, "canceled": 3, "pending": 4, "succeeded": 5, "skipped": 6}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree.

    Attributes:
        name: What it is about; for a `DETAIL` the whole text.
        state: The step's status, `retrying`, or `DETAIL`.
        glyph: The field of `Glyphs` that stands before it.
        share: How far it is, from 0 to 1; None: not known.
        remarks: Further words, in their order.
    """

    name: str
    state: str
    glyph: str
    time: str = ""
    share: float | None = None
    remarks: tuple[str, ...] = ()
    indent: int = 0


def rows_of(view: RunView, now: datetime) -> list[Row]:
    """Return the rows of a view: environment builds, then steps, each with its error and a line for what it spawned."""
    rows = [_build_row(name, progress) for name, progress in view.builds.items()]
    spawned: dict[StepPath, list[StepRecord]] = {}
    for step in view.steps:
        if step.scope:
            spawned.setdefault(top_level(step.path), []).append(step)
    for step in view.steps:
        if step.scope:
            continue
        rows.append(_step_row(step, now))
        if step.error is not None:
            rows.append(Row(one_line(step.error.message), DETAIL, "branch", indent=1))
        below = spawned.get(step.path, ())
        if below or step.spawned:
            rows.append(_spawned_row(step, below))
    return rows


def select(rows: Sequence[Row], limit: int) -> tuple[list[Row], str]:
    """Return at most `limit` rows in their order, and a text that counts the others; empty if there are none.

    What failed, runs or waits stays; of the rest, what comes soonest and what ended last. A detail goes with its row.
    """
    limit = max(limit, 1)
    if len(rows) <= limit:
        return list(rows), ""
    groups: list[list[Row]] = []
    for row in rows:
        if row.indent and groups:
            groups[-1].append(row)
        else:
            groups.append([row])
    kept: set[int] = set()
    room = limit - 1  # a line tells of the hidden ones
    for index in sorted(range(len(groups)), key=lambda i: _importance(groups[i][0].state, i)):
        if len(groups[index]) <= room:
            kept.add(index)
            room -= len(groups[index])
        if not room:
            break
    shown = [row for index, group in enumerate(groups) if index in kept for row in group]
    counts = Counter(groups[index][0].state for index in range(len(groups)) if index not in kept)
    words = {"succeeded": "done", "pending": "to do"}
    return shown, ", ".join(f"{count} more {words.get(state, state)}" for state, count in counts.items())


def _importance(state: str, index: int) -> tuple[int, int]:
    # Of ended steps the last ones first, of those to come the next ones first.
    return (_RANK.get(state, 4), -index if state in ("succeeded", "skipped") else index)


def _build_row(name: str, progress: Progress) -> Row:
    share = progress.done / progress.total if progress.total else None
    remarks = (one_line(progress.note),) if progress.note else ()
    return Row(f"environment {plain(name)}", "running", "running", share=share, remarks=remarks)


def _step_row(step: StepRecord, now: datetime) -> Row:
    retrying = step.status is StepStatus.PENDING and step.attempts > 0
    state = "retrying" if retrying else step.status.value
    glyph = "waiting" if retrying else step.status.value
    remarks: list[str] = []
    share: float | None = None
    if step.attempts > 1 or retrying:
        remarks.append(f"attempt {step.attempts + 1 if retrying else step.attempts}")
    if retrying and step.wake_at is not None:
        remarks.append(f"in {duration_text(step.wake_at - now)}")
    elif step.status is StepStatus.WAITING and step.wake_at is not None:
        remarks.append(f"{duration_text(step.wake_at - now)} left")
    if step.items is not None:
        share = _items_share(step.items)
        remarks += _items_remarks(step.items)
    elif step.progress is not None and step.status is StepStatus.RUNNING:
        share = step.progress.done / step.progress.total if step.progress.total else None
        remarks += _progress_remarks(step.progress)
    if step.skip_reason:
        remarks.append({"condition": "its condition is false", "not_reached": "not reached"}[step.skip_reason])
    time = took_text(step.started_at, step.finished_at, now)
    name = step.name if step.entry == 1 else f"{step.name}#{step.entry}"
    return Row(name, state, glyph, time=time, share=None if step.status.ended else share, remarks=tuple(remarks))


def _items_share(items: ItemCounts) -> float:
    done = items.succeeded + items.failed + items.skipped + items.canceled
    return done / items.total if items.total else 1.0


def _items_remarks(items: ItemCounts) -> list[str]:
    done = items.succeeded + items.failed + items.skipped + items.canceled
    return [f"{done}/{items.total}"] + ([f"{items.failed} failed"] if items.failed else [])


def _progress_remarks(progress: Progress) -> list[str]:
    amount = f"{progress.done:g}/{progress.total:g}" if progress.total else f"{progress.done:g}"
    return [amount] + ([one_line(progress.note)] if progress.note else [])


def _spawned_row(step: StepRecord, below: Sequence[StepRecord]) -> Row:
    counts = Counter(s.status.value for s in below)
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    total = max(step.spawned, len(below))
    glyph = "failed" if counts["failed"] else "running" if counts["running"] else step.status.value
    state = (counts["failed"] and "failed") or ("running" if counts["running"] else step.status.value)
    return Row(f"{total} spawned", str(state), glyph, remarks=(words,) if words else (), indent=1)
