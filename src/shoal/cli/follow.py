"""Following a run to its end: progress on stderr, the result on stdout, the exit status of the run."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, Protocol

from shoal.cli.api import connect
from shoal.cli.failures import lines_of, report
from shoal.cli.loop import Interrupts
from shoal.cli.terminal import ReaderGoneError, emit, emit_json, error_console, note, plain, results_only
from shoal.cli.view import run_to_json
from shoal.errors import RunError, ShoalError
from shoal.model.run import RunStatus, StepStatus

if TYPE_CHECKING:
    from shoal.cli.api import Begin
    from shoal.client import RunHandle, RunView

UNAVAILABLE = 3


class Display(Protocol):
    """Shows a run while it goes on."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...
    def update(self, view: RunView) -> None:
        """Show the run as it stands now."""
        ...


def display_for_stderr() -> Display:
    """Return the live tree on a terminal, else plain lines."""
    console = error_console()
    if console.is_terminal and not console.is_dumb_terminal:
        from shoal.cli.tree import LiveTree

        return LiveTree(console)
    from shoal.cli.lines import PlainLines

    return PlainLines()


async def follow(begin: Begin, interrupts: Interrupts, *, run_id: str | None, as_json: bool, print_id: bool = False) -> int:
    """Begin or take up a run, follow it until it has ended, print its outputs and return the exit status.

    The status follows the run's once the run has ended, whatever goes wrong after that.

    Args:
        begin: Starts, resumes or retries the run.
        interrupts: The signals; told how to resume as soon as the run is known.
        run_id: The run's id where it is known beforehand.
        as_json: Print one JSON object.
        print_id: Say the run's id on stderr before it is followed.
    """
    status: int | None = None
    if run_id is not None:
        interrupts.advice = f"If it was recorded, resume it with: shoal resume {run_id}"
    try:
        async with connect() as client:
            with results_only(), display_for_stderr() as display:
                handle = await begin(client)
                run_id = handle.id
                interrupts.arm()
                interrupts.advice = f"Resume with: shoal resume {run_id}"
                if print_id:
                    note(f"run {run_id}")
                for remark in handle.remarks:
                    note(plain(remark))
                try:
                    view = await _watch(handle, display)
                except asyncio.CancelledError:
                    await handle.park()
                    raise
            status = _finish(view, as_json=as_json)
    except ShoalError as error:
        if status is not None:
            note(f"shoal: after the end of the run: {error}")
            return status
        code = report(error, as_json=as_json, run_id=run_id)
        if code == UNAVAILABLE and run_id is not None:
            note(f"  If the run was recorded it is resumable: shoal resume {run_id}")
        return code
    return status


async def _watch(handle: RunHandle, display: Display) -> RunView:
    last: RunView | None = None
    async for view in handle.watch():
        last = view
        display.update(view)
    return last if last is not None else await handle.wait()


def _finish(view: RunView, *, as_json: bool) -> int:
    run = view.run
    try:
        if as_json:
            emit_json(run_to_json(view))
        elif run.status is RunStatus.SUCCEEDED:
            print_outputs(view.outputs or {})
    except ReaderGoneError:
        pass  # the run ended as it ended, whoever listens
    if run.status is RunStatus.SUCCEEDED:
        return 0
    for line in _end_lines(view):
        note(line)
    return 1 if run.status.ended else UNAVAILABLE


def print_outputs(outputs: dict[str, Any]) -> None:
    """Print a line `name: value` for each output: a string as it is, anything else as JSON."""
    for name, value in outputs.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        emit(f"{name}: {plain(text) if sys.stdout.isatty() else text}")


def _end_lines(view: RunView) -> list[str]:
    run = view.run
    if not run.status.ended:
        return [f"shoal: nobody drives run {run.id} any more", f"  hint: go on with `shoal resume {run.id}`"]
    if run.status is RunStatus.CANCELED:
        return [f"shoal: run {run.id} was canceled", f"  hint: `shoal resume {run.id}` goes on after all"]
    lines = [f"shoal: run {run.id} failed"]
    if run.error is not None:
        first, *rest = lines_of(run.error)
        where = f"step {run.error.step}: " if isinstance(run.error, RunError) and run.error.step else ""
        lines = [f"shoal: run {run.id} failed: {where}{first.removeprefix('shoal: ')}", *rest]
    failed = next((s.path for s in view.steps if s.status is StepStatus.FAILED), None)
    path = (run.error.step if isinstance(run.error, RunError) else None) or failed
    if path is not None:
        lines.append(f"  look: shoal show {run.id} --step {shlex.quote(path)}; shoal logs {run.id} {shlex.quote(path)}")
    lines.append(f"  again: shoal resume {run.id} (keeps what succeeded); shoal retry {run.id} (from the start)")
    return lines
