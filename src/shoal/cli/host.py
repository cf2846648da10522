"""The commands for this machine: up, down, doctor."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from shoal.cli.api import connect
from shoal.cli.loop import Interrupts, carry_out
from shoal.cli.running import JsonOption
from shoal.cli.terminal import emit, emit_json, glyphs_for, note, one_line
from shoal.config import load_settings
from shoal.errors import ShoalError

if TYPE_CHECKING:
    from shoal.client import Finding

_UNHEALTHY = 3


def up(as_json: JsonOption = False) -> int:
    """Keep a local Ray and a daemon for this SHOAL_HOME.

    Runs then start at once and go on in the background. Says so if they are up already. They end by themselves after 15
    idle minutes (SHOAL_IDLE_MINUTES).

    Example:
        shoal up && shoal run report.yaml --detach
    """
    from shoal import daemon

    settings = load_settings()
    info = daemon.up(settings)
    if as_json:
        emit_json({"up": True, **dataclasses.asdict(info)})
        return 0
    emit(f"up: process {info.pid}, Ray at {info.ray_address}")
    note(f"It ends after {settings.idle_minutes:g} idle minutes, or with `shoal down`.")
    return 0


def down(as_json: JsonOption = False) -> int:
    """End the daemon of this SHOAL_HOME and its Ray.

    Runs that it drove stay as they are, and the next `shoal up` takes them up again.

    Example:
        shoal down
    """
    from shoal import daemon

    ended = daemon.down(load_settings())
    if as_json:
        emit_json({"ended": ended})
    else:
        emit("down" if ended else "nothing was up")
    return 0


def doctor(as_json: JsonOption = False) -> int:
    """Find what is wrong with this set-up.

    Looks at settings, folders, journal, Ray, package index and tools, and says what to do.

    Exit status 0 when all is well, 3 otherwise.

    Example:
        shoal doctor
    """

    async def work(interrupts: Interrupts) -> int:
        del interrupts
        found: list[Finding] = []
        async for finding in _findings():
            found.append(finding)
            if not as_json:
                _print(finding)
        healthy = all(finding.ok is not False for finding in found)
        if as_json:
            emit_json(
                {
                    "ok": healthy,
                    "findings": [{"name": f.name, "ok": f.ok, "detail": f.detail, "hint": f.hint} for f in found],
                }
            )
        else:
            emit("all is well" if healthy else f"{sum(f.ok is False for f in found)} of {len(found)} checks failed")
        return 0 if healthy else _UNHEALTHY

    return carry_out(work)


async def _findings() -> AsyncIterator[Finding]:
    from shoal.cli.checks import findings_without_journal, settings_finding
    from shoal.client import Finding

    yield settings_finding()
    try:
        async with connect() as client:
            async for finding in client.diagnose():
                yield finding
    except ShoalError as error:
        yield Finding(error.code.replace("_", " "), ok=False, detail=error.message, hint=error.hint)
        for finding in findings_without_journal():
            yield finding


def _print(finding: Finding) -> None:
    glyphs = glyphs_for(sys.stdout)
    sign = glyphs.pending if finding.ok is None else glyphs.succeeded if finding.ok else glyphs.failed
    emit(f"{sign} {finding.name}: {one_line(finding.detail)}")
    if finding.hint and not finding.ok:
        emit(f"    {finding.hint}")
