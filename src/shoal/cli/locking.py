"""The commands for the packages of tools: `tools lock` and `tools envs`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoal.cli.api import connect
from shoal.cli.loop import Interrupts, carry_out
from shoal.cli.running import JsonOption
from shoal.cli.spans import ago_text, bytes_text, iso, parse_age, parse_size
from shoal.cli.terminal import emit, emit_json, note, plain
from shoal.errors import InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from shoal.client import EnvironmentView, LockReport, ToolChange

_STALE = 1
_SHOWN = 4


def lock(
    workflow: Annotated[str, typer.Argument(metavar="FILE", help="A workflow file; its sub-workflows are locked with it.")],
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Resolve every tool of the workflow anew.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only look: exit 1 if the lock file is missing or out of date. Asks no index.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Write the exact packages of a workflow's tools to shoal.lock.

    The file lies beside the workflow file; a run uses it by itself. What is locked already and still suits is kept. One file
    holds the tools of all workflows of its folder that were locked.

    Examples:
        shoal tools lock answer.yaml
        shoal tools lock answer.yaml --upgrade
        shoal tools lock answer.yaml --check
    """
    if upgrade and check:
        raise InvalidInputError("--check resolves nothing", hint="leave out --upgrade")

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            report = await client.lock_tools(workflow, upgrade=upgrade, check=check)
        if as_json:
            emit_json(_report_to_json(report, check=check))
        elif check:
            _print_check(report, workflow)
        else:
            _print_report(report)
        return _STALE if report.problems else 0

    return carry_out(work)


def _report_to_json(report: LockReport, *, check: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"file": str(report.file)}
    if check:
        return data | {"up_to_date": not report.problems, "problems": list(report.problems)}
    changes = {name: getattr(report, name) for name in ("added", "updated", "removed", "kept")}
    return data | {"written": report.written} | {k: [dataclasses.asdict(c) for c in v] for k, v in changes.items()}


def _print_check(report: LockReport, workflow: str) -> None:
    for problem in report.problems:
        note(plain(problem))
    if report.problems:
        note(f"  hint: shoal tools lock {workflow}")
    else:
        emit(f"{report.file}: up to date ({_tools(len(report.kept))})")


def _print_report(report: LockReport) -> None:
    for word, changes in (("added", report.added), ("updated", report.updated), ("removed", report.removed)):
        for change in changes:
            emit(f"{word:<7}  {plain(change.tool)}  {_what(change)}".rstrip())
    count = len(report.added) + len(report.updated) + len(report.kept)
    emit(f"{report.file}: {_tools(count)}, {'written' if report.written else 'nothing changed'}")


def _tools(count: int) -> str:
    return f"{count} {'tool' if count == 1 else 'tools'}"


def _what(change: ToolChange) -> str:
    """Return a change's packages in few words: of an update only what differs."""
    before, after = (dict(text.split("==", 1) for text in side) for side in (change.before, change.after))
    if not before or not after:
        return _few([f"{name} {version}" for name, version in (before or after).items()])
    differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return _few([f"{n} {before.get(n, '(new)')} -> {after.get(n, '(gone)')}" for n in differ]) or "other files or requirements"


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")


def envs(
    prune: Annotated[bool, typer.Option("--prune", help="Remove environments, by age, size or both.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="With --prune: those not used for longer: 12h, 30d, 2w.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size", metavar="SIZE", help="With --prune: the longest unused, until the rest fits: 500MiB, 10GiB."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    as_json: JsonOption = False,
) -> int:
    """List the environments that were built on this host, or remove old ones.

    The longest unused come first. One that a process uses, or that belongs to a process that drives runs, is never
    removed; another is built again when a run needs it.

    Examples:
        shoal tools envs
        shoal tools envs --prune --older-than 30d --dry-run
        shoal tools envs --prune --max-size 10GiB
    """
    if prune and older_than is None and max_size is None:
        raise InvalidInputError("--prune needs --older-than AGE or --max-size SIZE", hint="`--dry-run` shows what would go")
    if not prune and (older_than is not None or max_size is not None or dry_run):
        raise InvalidInputError("--older-than, --max-size and --dry-run go with --prune")
    age = parse_age(older_than) if older_than is not None else None
    size = parse_size(max_size) if max_size is not None else None

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        async with connect() as client:
            found = (
                client.prune_environments(older_than=age, max_size=size, dry_run=dry_run) if prune else client.environments()
            )
            now = client.store.now()
        total = sum(e.bytes for e in found)
        if as_json:
            data: dict[str, Any] = {"environments": [_view_to_json(e) for e in found], "bytes": total}
            emit_json(data | ({"dry_run": dry_run} if prune else {}))
            return 0
        _print_environments(found, now, removed=prune)
        verb = "" if not prune else " would be removed" if dry_run else " removed"
        note(f"{len(found)} {'environment' if len(found) == 1 else 'environments'}{verb}, {bytes_text(total)}")
        return 0

    return carry_out(work)


def _view_to_json(view: EnvironmentView) -> dict[str, Any]:
    data = dataclasses.asdict(view)
    return data | {"built_at": iso(view.built_at), "used_at": iso(view.used_at)}


def _print_environments(found: tuple[EnvironmentView, ...], now: datetime, *, removed: bool) -> None:
    for view in found:
        state = "  in use" if view.in_use and not removed else ""
        holds = _few(list(view.tools) or [p.replace("==", " ") for p in view.packages]) or "nothing"
        packages = f"{len(view.packages)} {'package' if len(view.packages) == 1 else 'packages'}"
        name = view.digest[:12] or view.key[:12]
        times = f"used {ago_text(view.used_at, now):<12}  built {ago_text(view.built_at, now):<12}"
        emit(f"{name}  {view.kind:<7}  {bytes_text(view.bytes):>9}  {times}  {view.node}  {holds} ({packages}){state}")
