"""The commands that look at runs: runs, show, logs, graph."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.api import connect
from shoal.cli.loop import Interrupts, carry_out
from shoal.cli.running import JsonOption, RunArgument
from shoal.cli.terminal import emit, emit_json
from shoal.errors import InvalidInputError, NotFoundError
from shoal.model.events import Event
from shoal.model.ids import WorkflowId
from shoal.model.run import RunStatus
from shoal.ports import LogChunk, RunQuery

if TYPE_CHECKING:
    from shoal.client import Client, RunView

_EVENTS_SHOWN = 20


class ShownStatus(StrEnum):
    """The statuses of a run as they are shown."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    RESUMABLE = "resumable"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Format(StrEnum):
    """The languages that a graph is written in."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def runs(
    status: Annotated[list[ShownStatus] | None, typer.Option("--status", help="Only runs of this status. Repeatable.")] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="ID", help="Only runs of this workflow.")] = None,
    children: Annotated[bool, typer.Option("--children", help="Runs of sub-workflows too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")] = 20,
    as_json: JsonOption = False,
) -> int:
    """List runs, the newest first.

    A run under way that nobody drives is shown as `resumable`.

    Examples:
        shoal runs --status resumable
        shoal runs --workflow nightly -n 5 --json
    """
    wanted = frozenset(s.value for s in status or ())

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        query = RunQuery(
            statuses=_stored_statuses(wanted),
            workflow_id=WorkflowId(workflow) if workflow else None,
            children=children,
            limit=limit,
        )
        async with connect() as client:
            found = [r for r in await client.runs(query) if not wanted or r.shown_status in wanted]
        if as_json:
            from shoal.cli.view import record_to_json

            emit_json({"runs": [record_to_json(run) for run in found]})
            return 0
        from shoal.cli.show import print_runs

        print_runs(found)
        return 0

    return carry_out(work)


def _stored_statuses(wanted: frozenset[str]) -> tuple[RunStatus, ...]:
    stored = {status for status in RunStatus if status.value in wanted}
    if "resumable" in wanted:
        stored |= {RunStatus.RUNNING, RunStatus.WAITING}
    return tuple(status for status in RunStatus if status in stored)


def show(
    run_id: RunArgument,
    step: Annotated[
        str | None, typer.Option("--step", metavar="PATH", help="One step: NAME, an item NAME[3], a spawned step NAME/7.")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Its whole log of events too, not only the last ones.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Show a run, or one of its steps with all attempts.

    Of a run: its inputs, steps, outputs, error and last events. Of a step: every attempt with its outcome, what goes in and
    comes out, and the tool's own traceback.

    Examples:
        shoal show 01jd9x2m4k
        shoal show 01jd9x2m4k --step 'measure[3]'
        shoal show 01jd9x2m4k --json | jq '.steps[] | select(.status == "failed")'
    """

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            if step is not None:
                return await _show_step(client, run_id, step, events=events, as_json=as_json)
            return await _show_run(client, run_id, events=events, as_json=as_json)

    return carry_out(work)


async def _show_run(client: Client, run_id: str, *, events: bool, as_json: bool) -> int:
    from shoal.cli.inspection import inputs_of
    from shoal.cli.view import event_to_json, run_to_json, tools_to_json

    view = await client.show(run_id)
    inputs = await inputs_of(client, view.run.id)
    log = [event async for event in client.events(run_id)] if events or not as_json else []
    if as_json:
        emit_json(
            run_to_json(view)
            | {"inputs": inputs}
            | tools_to_json(view)
            | ({"events": [event_to_json(e) for e in log]} if events else {})
        )
        return 0
    from shoal.cli.show import print_run

    print_run(view, inputs, log if events else log[-_EVENTS_SHOWN:], hidden=0 if events else max(len(log) - _EVENTS_SHOWN, 0))
    return 0


async def _show_step(client: Client, run_id: str, path: str, *, events: bool, as_json: bool) -> int:
    from shoal.cli.inspection import look_at_step
    from shoal.cli.view import event_to_json, step_view_to_json

    view = await look_at_step(client, run_id, path)
    log: list[Event] = [e async for e in client.events(run_id) if e.path == path] if events or not as_json else []
    if as_json:
        emit_json(step_view_to_json(run_id, view) | ({"events": [event_to_json(e) for e in log]} if events else {}))
        return 0
    from shoal.cli.show import print_step

    print_step(view, log)
    return 0


def logs(
    run_id: RunArgument,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Path of a step; without it, all of the run.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Print what the tools of a run printed and logged.

    Without STEP every line begins with the path of its step. With --json: one object; with -f too: one object a line.

    Examples:
        shoal logs 01jd9x2m4k measure
        shoal logs 01jd9x2m4k -f
    """

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            chunks = client.logs(run_id, step, follow=follow)
            await _print_logs(chunks, run_id, prefixed=step is None, follow=follow, as_json=as_json)
        return 0

    return carry_out(work)


async def _print_logs(chunks: AsyncIterator[LogChunk], run_id: str, *, prefixed: bool, follow: bool, as_json: bool) -> None:
    from shoal.cli.logs import JsonLogs, LogPrinter

    if as_json:
        collected = JsonLogs(run_id)
        async for chunk in chunks:
            if follow:
                collected.print_one(chunk)
            else:
                collected.add(chunk)
        if not follow:
            emit_json(collected.result())
        return
    printer = LogPrinter(prefixed=prefixed)
    async for chunk in chunks:
        printer.add(chunk)
    printer.finish()


def graph(
    subject: Annotated[str, typer.Argument(metavar="FILE|ID", help="A workflow file, or a run id.")],
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.MERMAID,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
) -> int:
    """Draw a workflow or a run as Mermaid, DOT or SVG.

    Of a run with the status of every step. Drawn to stdout unless a file is named; no Graphviz is needed for SVG.

    Examples:
        shoal graph answer.yaml
        shoal graph 01jd9x2m4k --format svg -o run.svg
    """
    from shoal.cli.graph import draw
    from shoal.language.finding import find_workflow, is_file_name

    if is_file_name(subject):
        return _write_graph(draw(find_workflow(subject), (), form.value), output)

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            view: RunView = await client.show(subject)
        return _write_graph(draw(view.workflow, view.steps, form.value), output)

    return carry_out(work)


def _write_graph(text: str, output: Path | None) -> int:
    if output is None:
        emit(text, end="")
        return 0
    try:
        output.write_text(text, encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no folder {output.parent}") from error
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be written: {error.strerror}") from error
    return 0
