"""Runs and steps, readable: the table of `runs`, and what `show` prints of a run or a step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shoal.cli.failures import lines_of
from shoal.cli.inspection import StepView
from shoal.cli.spans import ago_text, clock_text, duration_text, moment_text, took_text
from shoal.cli.terminal import one_line, plain, result_console
from shoal.cli.view import defined_steps
from shoal.errors import ShoalError
from shoal.model.events import Event
from shoal.model.run import AttemptRecord, RunRecord, StepRecord
from shoal.model.values import Json

if TYPE_CHECKING:
    from shoal.client import RunView

STYLES = {
    "running": "cyan",
    "waiting": "yellow",
    "resumable": "yellow",
    "succeeded": "green",
    "failed": "bold red",
    "skipped": "dim",
    "canceled": "magenta",
}
_VALUE_LIMIT = 2_000


def print_runs(runs: Sequence[RunRecord], console: Console | None = None, now: datetime | None = None) -> None:
    """Print a table of runs: id, workflow, status, when it was created, how long it took."""
    console = console or result_console()
    now = now or datetime.now(UTC)
    if not runs:
        console.print("no runs")
        return
    table = _table("RUN", "WORKFLOW", "STATUS", "CREATED", "TOOK")
    table.columns[0].no_wrap = True
    for run in runs:
        table.add_row(
            run.id,
            run.workflow_id,
            _status(run.shown_status),
            ago_text(run.created_at, now),
            took_text(run.started_at, run.finished_at, now),
        )
    console.print(table)


def print_run(
    view: RunView,
    inputs: Mapping[str, Json],
    events: Sequence[Event],
    *,
    hidden: int = 0,
    console: Console | None = None,
    now: datetime | None = None,
) -> None:
    """Print a run: what it is, its steps, outputs, error and last events.

    Args:
        view: The run.
        inputs: What it was started with.
        events: What is shown of its log.
        hidden: How many earlier events are not shown.
        console: Where to.
        now: What relative times are counted from.
    """
    console = console or result_console()
    now = now or datetime.now(UTC)
    run = view.run
    _facts(console, _run_facts(view, now))
    steps = _table("STEP", "STATUS", "TOOK", "ATTEMPTS", "")
    for step in defined_steps(view.steps):
        took = took_text(step.started_at, step.finished_at, now)
        steps.add_row(
            Text(plain(step.path)), _status(step.status.value), took, str(step.attempts or ""), Text(_remark(step, now))
        )
    if inputs:
        _heading(console, "inputs")
        _values(console, inputs)
    console.print()
    console.print(steps)
    if run.locks:
        _heading(console, "tools" + (f", from shoal.lock {view.lock_file.digest[:12]}" if view.lock_file else ""))
        _tools(console, view)
    if view.outputs is not None:
        _heading(console, "outputs")
        _values(console, view.outputs)
    if run.error is not None:
        _heading(console, "error")
        _error(console, run.error)
    if events:
        _heading(console, "events" + (f" ({hidden} earlier ones: --events)" if hidden else ""))
        _events(console, events)


def _run_facts(view: RunView, now: datetime) -> Iterator[tuple[str, str | Text]]:
    run, workflow = view.run, view.workflow
    yield "run", run.id
    yield "workflow", run.workflow_id + (f" ({plain(workflow.name)})" if workflow.name else "")
    yield "status", _status(run.shown_status)
    yield "created", moment_text(run.created_at, now)
    if run.started_at is not None:
        yield "took" if run.finished_at else "so far", took_text(run.started_at, run.finished_at, now)
    if run.parent is not None:
        yield "part of", f"{run.parent.run_id}, step {run.parent.path}"
    if run.retry_of is not None:
        yield "retry of", run.retry_of
    if run.executor != "ray":
        yield "executor", run.executor
    if run.cancel_requested and not run.status.ended:
        yield "", "being canceled"
    if run.shown_status == "resumable":
        yield "", f"go on with: shoal resume {run.id}"


def _tools(console: Console, view: RunView) -> None:
    """Print what the run is pinned to, and what its lock file did not serve."""
    for lock in view.run.locks or ():
        environment = lock.environment
        where = f"  {environment.kind} {environment.digest[:12]}, packages: {len(environment.packages)}" if environment else ""
        version = f"  {' '.join(lock.distribution)}" if lock.distribution is not None else ""
        console.print(
            Text.assemble(("  " + plain(lock.request.reference.text), "cyan"), version, (where, "dim")), soft_wrap=True
        )
    for remark in view.lock_file.remarks if view.lock_file is not None else ():
        console.print(Text("  " + plain(remark), style="yellow"), soft_wrap=True)


def print_step(
    view: StepView,
    events: Sequence[Event],
    *,
    console: Console | None = None,
    now: datetime | None = None,
) -> None:
    """Print a step: what it does, its attempts with their outcomes, outputs, error with the tool's traceback, events."""
    console = console or result_console()
    now = now or datetime.now(UTC)
    step = view.step
    _facts(console, _step_facts(step, now))
    if view.inputs:
        _heading(console, "inputs, as the workflow has them")
        _values(console, view.inputs)
    if view.attempts:
        console.print()
        _attempts(console, view.attempts, now)
    if view.failed_items:
        _heading(console, "items that failed")
        for item in view.failed_items:
            message = one_line(item.error.message) if item.error is not None else ""
            console.print(Text.assemble("  ", (plain(item.path), "red"), f"  {message}"), soft_wrap=True)
    if view.outputs is not None:
        _heading(console, "outputs")
        _values(console, view.outputs)
    if step.error is not None:
        _heading(console, "error")
        _error(console, step.error)
    if events:
        _heading(console, "events")
        _events(console, events)


def _step_facts(step: StepRecord, now: datetime) -> Iterator[tuple[str, str | Text]]:
    yield "step", plain(step.path)
    yield "status", _status(step.status.value)
    if step.started_at is not None:
        yield "started", moment_text(step.started_at, now)
        yield "took" if step.finished_at else "so far", took_text(step.started_at, step.finished_at, now)
    remark = _remark(step, now, error=False)
    if remark:
        yield "", remark
    spent = [(step.exceptions, "exceptions and time-outs"), (step.lost, "lost workers"), (step.out_of_memory, "out of memory")]
    words = ", ".join(f"{count} {what}" for count, what in spent if count)
    if words:
        yield "retries", words


def _attempts(console: Console, attempts: Sequence[AttemptRecord], now: datetime) -> None:
    table = _table("ATTEMPT", "OUTCOME", "STARTED", "TOOK", "NODE", "")
    for attempt in attempts:
        outcome = attempt.outcome or "running"
        table.add_row(
            str(attempt.number),
            Text(outcome.replace("_", " "), style=STYLES.get(outcome, "red")),
            clock_text(attempt.started_at),
            took_text(attempt.started_at, attempt.finished_at, now),
            plain(attempt.node),
            Text(one_line(attempt.error.message) if attempt.error else ""),
        )
    console.print(table)


def _remark(step: StepRecord, now: datetime, *, error: bool = True) -> str:
    parts: list[str] = []
    if step.items is not None:
        counts = step.items
        parts.append(f"{counts.succeeded + counts.failed + counts.skipped + counts.canceled}/{counts.total} items")
        parts += [
            f"{n} {w}" for n, w in ((counts.failed, "failed"), (counts.skipped, "skipped"), (counts.canceled, "canceled")) if n
        ]
    if step.spawned:
        parts.append(f"{step.spawned} spawned")
    if step.child_run_id is not None:
        parts.append(f"run {step.child_run_id}")
    if step.skip_reason is not None:
        parts.append({"condition": "its condition is false", "not_reached": "not reached"}[step.skip_reason])
    if step.wake_at is not None and not step.status.ended:
        parts.append(f"goes on in {duration_text(step.wake_at - now)}")
    if error and step.error is not None:
        parts.append(one_line(step.error.message))
    return ", ".join(parts)


# ---------------------------------------------------------------- parts


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _status(status: str) -> Text:
    return Text(status, style=STYLES.get(status, ""))


def _facts(console: Console, facts: Iterator[tuple[str, str | Text]]) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, value if isinstance(value, Text) else Text(value))
    console.print(grid)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _values(console: Console, values: Mapping[str, Json]) -> None:
    for name, value in values.items():
        text = plain(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        if len(text) > _VALUE_LIMIT:
            text = f"{text[:_VALUE_LIMIT]}... ({len(text):,} characters; --json has it whole)"
        block = "\n    ".join(text.splitlines())
        console.print(Text.assemble(("  " + plain(name), "cyan"), f": {block}"), soft_wrap=True)


def _error(console: Console, error: ShoalError) -> None:
    for line in lines_of(error):
        console.print(Text("  " + line.removeprefix("shoal: ")), soft_wrap=True)


def _events(console: Console, events: Sequence[Event]) -> None:
    for event in events:
        text = Text(f"  {clock_text(event.at)}  ", style="dim")
        text.append(event.name, style=STYLES.get(event.name.partition(".")[2], ""))
        if event.path:
            text.append(f"  {plain(event.path)}")
        words = "  ".join(f"{k}={_brief(v)}" for k, v in event.data.items() if v is not None)
        text.append(f"  {words}" if words else "", style="dim")
        console.print(text, soft_wrap=True)


def _brief(value: Json) -> str:
    if isinstance(value, dict) and "message" in value:
        return one_line(str(value["message"]))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text)[:120]
