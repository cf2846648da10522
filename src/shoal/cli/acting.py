"""The commands that act on a run from outside: cancel, signal, delete, prune."""

from __future__ import annotations

from typing import Annotated

import typer

from shoal.cli.api import connect
from shoal.cli.loop import Interrupts, carry_out
from shoal.cli.running import JsonOption, RunArgument
from shoal.cli.spans import bytes_text, parse_age
from shoal.cli.terminal import asks, emit, emit_json, note
from shoal.errors import InvalidInputError
from shoal.language.json_text import RepeatedKeyError, parse_json
from shoal.model.values import Json


def cancel(run_id: RunArgument, as_json: JsonOption = False) -> int:
    """Cancel a run.

    Nothing new starts, and what runs is stopped for real. Returns as soon as the cancel is recorded; it survives a
    crash. `shoal show ID` tells when the run has ended.

    Example:
        shoal cancel 01jd9x2m4k
    """

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            await client.cancel(run_id)
            view = await client.show(run_id) if as_json else None
        if view is not None:
            emit_json({"run_id": run_id, "status": view.run.shown_status})
        note(f"cancel of {run_id} is recorded")
        return 0

    return carry_out(work)


def signal(
    run_id: RunArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal that a `wait` step waits for.")],
    data: Annotated[str | None, typer.Option("-d", "--data", metavar="JSON", help="What it carries.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Send a signal to a run.

    A signal that comes before the step that waits for it is kept.

    Examples:
        shoal signal 01jd9x2m4k approved
        shoal signal 01jd9x2m4k approved -d '{"by": "ana"}'
    """
    payload = _payload(data)

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            await client.signal(run_id, name, payload)
        if as_json:
            emit_json({"run_id": run_id, "signal": name})
        note(f"signal {name} to {run_id} is recorded")
        return 0

    return carry_out(work)


def _payload(text: str | None) -> Json:
    if text is None:
        return None
    try:
        return parse_json(text)
    except RepeatedKeyError as error:
        raise InvalidInputError(f"-d: {error}", hint="keep one of the two") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"-d is no JSON: {error}", hint="put strings in double quotes: -d '\"yes\"'") from error


def delete(
    run_id: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Delete a run.

    Its sub-workflows, results and logs go with it. A run that somebody drives is refused (exit 4). Asks first when a
    person is there to answer. Blobs that no other run uses go with the next `shoal prune`.

    Example:
        shoal delete 01jd9x2m4k --yes
    """
    if not yes and asks() and not typer.confirm(f"Delete run {run_id} with its results and logs?", err=True):
        note("nothing was deleted")
        if as_json:
            emit_json({"run_id": run_id, "deleted": False})
        return 0

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            await client.delete(run_id)
        if as_json:
            emit_json({"run_id": run_id, "deleted": True})
        note(f"run {run_id} is deleted")
        return 0

    return carry_out(work)


def prune(
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Only runs that ended longer ago: 12h, 30d, 2w.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", min=0, help="Keep the newest N ended runs of every workflow.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Delete old runs and what nothing uses any more.

    Runs that have ended go by age and number, then blobs that no run names. The ids of the runs go to
    stdout, a summary to stderr. Blobs younger than 24 hours stay.

    Examples:
        shoal prune --older-than 30d --keep 10 --dry-run
        shoal prune --keep 100
    """
    if older_than is None and keep is None:
        raise InvalidInputError("prune needs --older-than AGE or --keep N", hint="`--dry-run` shows what it would delete")
    age = parse_age(older_than) if older_than is not None else None

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            report = await client.prune(older_than=age, keep=keep, dry_run=dry_run)
        if as_json:
            emit_json(
                {
                    "dry_run": dry_run,
                    "runs": list(report.runs),
                    "blobs": report.blobs,
                    "bytes": report.bytes,
                }
            )
            return 0
        for pruned in report.runs:
            emit(pruned)
        verb = "would be deleted" if dry_run else "deleted"
        note(f"{len(report.runs)} runs and {report.blobs} blobs ({bytes_text(report.bytes)}) {verb}")
        return 0

    return carry_out(work)
