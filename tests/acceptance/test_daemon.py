"""The daemon: it drives runs in the background, outlives commands, and is taken over from when it dies."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from acceptance.command import Command, wait_until

TOOLS = """
import os, time

def nap(seconds: float, gate: str) -> dict:
    # for a while, or until there is a file
    end = time.monotonic() + seconds
    while time.monotonic() < end and not os.path.exists(gate):
        time.sleep(0.02)
    return {"seconds": seconds}
"""
FLOW = """
id: naps
inputs: {seconds: {type: number}, gate: {type: string, default: ""}}
steps:
  - {name: a, tool: "naps:nap", inputs: {seconds: "{{ inputs.seconds }}", gate: "{{ inputs.gate }}"}}
  - {name: b, tool: "naps:nap", inputs: {seconds: "{{ inputs.seconds }}", gate: "{{ inputs.gate }}"}}
"""


@pytest.fixture
def shoal(tmp_path, ray_address):
    command = Command(tmp_path / "home", ray_address)
    yield command
    command.end()
    command("down")


@pytest.fixture
def flow(tmp_path):
    (tmp_path / "naps.py").write_text(TOOLS)
    path = tmp_path / "naps.yaml"
    path.write_text(FLOW)
    return path


def status(shoal: Command, run_id: str) -> str:
    return shoal.json("show", run_id)["status"]


def pid_of(shoal: Command) -> int:
    return json.loads((shoal.home / "daemon.json").read_text())["pid"]


def test_runs_live_on_with_the_daemon(shoal, flow, tmp_path):
    gates = {name: tmp_path / f"{name}.gate" for name in ("parked", "orphan", "released")}
    assert shoal("up").returncode == 0
    done = shoal("run", flow, "-i", "seconds=0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == {"seconds": 0}

    # a command that only follows may be killed: the run goes on
    follower = shoal.start("run", flow, "-i", "seconds=1", "--run-id", "followed")
    wait_until(lambda: "followed" in shoal("runs").stdout)
    follower.send_signal(signal.SIGKILL)
    follower.communicate()
    wait_until(lambda: status(shoal, "followed") == "succeeded")

    # a command that is stopped parks it: it waits for an explicit resume
    follower = shoal.start("run", flow, "-i", "seconds=60", "-i", f"gate={gates['parked']}", "--run-id", "parked")
    wait_until(lambda: "parked" in shoal("runs").stdout and status(shoal, "parked") == "running")
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=20)
    assert follower.returncode == 130, err
    assert status(shoal, "parked") == "resumable"
    time.sleep(2.5)
    assert status(shoal, "parked") == "resumable", "the daemon leaves it alone"
    gates["parked"].touch()
    done = shoal("resume", "parked")
    assert done.returncode == 0, done.stderr

    # a daemon that dies is taken over from by the next one
    detached = shoal("run", flow, "-i", "seconds=60", "-i", f"gate={gates['orphan']}", "--run-id", "orphan", "--detach")
    assert (detached.returncode, detached.stdout) == (0, "orphan\n"), detached.stderr
    wait_until(lambda: status(shoal, "orphan") == "running")
    os.kill(pid_of(shoal), signal.SIGKILL)
    wait_until(lambda: status(shoal, "orphan") == "resumable")
    gates["orphan"].touch()
    assert shoal("up").returncode == 0
    wait_until(lambda: status(shoal, "orphan") == "succeeded")

    # one that is told to stop gives its runs back, and the next one goes on with them
    shoal("run", flow, "-i", "seconds=60", "-i", f"gate={gates['released']}", "--run-id", "released", "--detach")
    wait_until(lambda: status(shoal, "released") == "running")
    assert shoal("down").returncode == 0
    assert status(shoal, "released") == "resumable"
    gates["released"].touch()
    assert shoal("up").returncode == 0
    wait_until(lambda: status(shoal, "released") == "succeeded")
