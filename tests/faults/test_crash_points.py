"""At every crash point, by exit and by SIGKILL: the process dies there, the next one recovers, the promises hold."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import shoal
from promises.check import check_promises
from shoal.faults import POINTS
from shoal.model.run import RunStatus
from wheels import make_wheel

CHILD = Path(__file__).parent / "child.py"
CANCEL = {"cancel.recorded"}
ENVIRONMENT = {"build.before_rename"}
PARK = {"release.before"}
PLAIN = sorted(POINTS - CANCEL - ENVIRONMENT - PARK)
HITS = {"commit.before": (1, 4), "commit.inside": (1, 2, 6), "commit.after": (1, 5), "dispatch.after": (1, 6)}
DEAD = {"exit": 86, "kill": -9}


def child(home: Path, log: Path, what: str, fault: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SHOAL_FAULT": fault, **variables}
    return subprocess.run(
        [sys.executable, str(CHILD), str(home), "r", str(log), what],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def cases() -> list[tuple[str, int, str]]:
    return [(point, hit, mode) for point in PLAIN for hit in HITS.get(point, (1,)) for mode in DEAD]


@pytest.mark.parametrize(("point", "hit", "mode"), cases())
def test_a_run_survives_the_end_of_its_process(tmp_path, point, hit, mode):
    home, log = tmp_path / "home", tmp_path / "log"
    died = child(home, log, "start", f"{point}:{hit}:{mode}")
    if point == "claim.after":  # nothing is claimed in a first start: it is where the recovery dies
        assert died.returncode == 0, died.stderr
        asyncio.run(check_promises(home, "r", log, disturbances=0))
        return
    assert died.returncode == DEAD[mode], f"{point} was not passed: {died.stdout}{died.stderr}"
    recovered = child(home, log, "start")
    assert recovered.stdout == "succeeded\n", recovered.stdout + recovered.stderr
    asyncio.run(check_promises(home, "r", log, disturbances=1))


@pytest.mark.parametrize("mode", sorted(DEAD))
def test_a_recovery_that_dies_is_recovered_from(tmp_path, mode):
    home, log = tmp_path / "home", tmp_path / "log"
    assert child(home, log, "start", "commit.after:5:kill").returncode == -9
    assert child(home, log, "resume", f"claim.after:1:{mode}").returncode == DEAD[mode]
    assert child(home, log, "resume").stdout == "succeeded\n"
    asyncio.run(check_promises(home, "r", log, disturbances=2))


@pytest.mark.parametrize("mode", sorted(DEAD))
def test_a_run_that_is_being_given_back_survives(tmp_path, mode):
    home, log = tmp_path / "home", tmp_path / "log"
    died = child(home, log, "park", f"release.before:1:{mode}")
    assert died.returncode == DEAD[mode], died.stdout + died.stderr
    assert child(home, log, "resume").stdout == "succeeded\n"
    asyncio.run(check_promises(home, "r", log, disturbances=1))


@pytest.mark.parametrize("mode", sorted(DEAD))
def test_a_cancel_survives_a_crash_in_the_middle_of_it(tmp_path, mode):
    home, log = tmp_path / "home", tmp_path / "log"
    died = child(home, log, "cancel", f"cancel.recorded:1:{mode}")
    assert died.returncode == DEAD[mode], died.stdout + died.stderr
    assert child(home, log, "resume").stdout == "canceled\n"

    async def look() -> None:
        async with shoal.connect(home=str(home)) as client:
            view = await client.show("r")
            assert view.run.status is RunStatus.CANCELED
            assert next(s for s in view.steps if s.name == "cleanup").status.value == "succeeded"

    asyncio.run(look())


@pytest.mark.parametrize("mode", sorted(DEAD))
def test_a_build_killed_half_way_leaves_nothing_broken(tmp_path, mode):
    home, log, links = tmp_path / "home", tmp_path / "log", tmp_path / "links"
    files = {"tiny_tool/__init__.py": "def run(x=1):\n    return {'x': x}\n"}
    make_wheel(links, "tiny-tool", "1.0", files, entry_points={"tool.entrypoint": {"tiny_tool": "tiny_tool:run"}})
    flow = "id: tiny\nsteps:\n  - {name: a, tool: tiny-tool@1.0, inputs: {x: 3}}\n"
    (tmp_path / "environment.yaml").write_text(flow)
    offline = {"UV_FIND_LINKS": str(links), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
    died = child(home, log, "environment", f"build.before_rename:1:{mode}", **offline)
    assert died.returncode == DEAD[mode], died.stdout + died.stderr
    assert child(home, log, "environment", **offline).stdout == "succeeded\n"


def test_every_crash_point_is_tried():
    assert set(PLAIN) | CANCEL | ENVIRONMENT | PARK == POINTS
