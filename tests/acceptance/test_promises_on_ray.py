"""The promises on real Ray: kills, stops, cancels, large loops, from the command line."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from acceptance.command import Command, wait_until
from promises.check import FLOW, check_promises, notes

TOOLS = """
import os, time
from shoal import ToolContext

def patient(log: str, context: ToolContext) -> dict:
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {context.attempt}\\n")
    for _ in range(600):
        time.sleep(0.1)
        if context.canceled:
            break
    return {}

def stubborn(log: str) -> dict:
    with open(log, "a") as file:
        file.write(f"{os.getpid()} 1\\n")
    while True:
        time.sleep(0.1)

def gate(log: str, door: str, v: int, context: ToolContext) -> dict:
    with open(log, "a") as file:
        file.write(f"{v} {context.attempt}\\n")
    if v >= 60 and not os.path.exists(door):
        time.sleep(60)
    return {"v": v}
"""


@pytest.fixture
def shoal(tmp_path, ray_address):
    command = Command(tmp_path / "home", ray_address)
    yield command
    command.end()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def written(log: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in log.read_text().splitlines()] if log.exists() else []


def storm(shoal: Command, log: Path, kills: int, seed: int) -> None:
    """Kill the driver at random moments of the thirty-step run, so many times, resuming each time; then hold the promises."""
    order = random.Random(seed)
    arguments = ["run", FLOW, "-i", f"log={log}", "-i", "pace=0.1", "--run-id", "storm"]
    disturbances = 0
    for _ in range(kills):
        before = len(notes(log))
        process = shoal.start(*arguments)
        goal = before + order.randint(1, 5)
        end = time.monotonic() + 60
        while process.poll() is None and len(notes(log)) < goal:
            assert time.monotonic() < end, "nothing happens"
            time.sleep(0.01)
        time.sleep(order.random() * 0.2)
        if process.poll() is not None:
            process.communicate()
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        disturbances += 1
    done = shoal(*arguments)
    assert done.returncode == 0, done.stderr
    asyncio.run(check_promises(shoal.home, "storm", log, disturbances=disturbances))


def test_killing_the_driver_breaks_no_promise(shoal, tmp_path):
    storm(shoal, tmp_path / "log", kills=3, seed=7)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2])
def test_killing_the_driver_twenty_times_breaks_no_promise(shoal, tmp_path, seed):
    storm(shoal, tmp_path / "log", kills=20, seed=seed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_ends_in_five_seconds_and_its_run_is_resumable(shoal, tmp_path, number):
    (tmp_path / "beside.py").write_text(TOOLS)
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        "id: stop\ninputs: {log: {type: string}}\n"
        "steps: [{name: a, tool: 'beside:patient', inputs: {log: '{{ inputs.log }}'}, retry: {max_attempts: 1}}]\n"
    )
    log = tmp_path / "log"
    process = shoal.start("run", flow, "-i", f"log={log}", "--run-id", "s")
    wait_until(lambda: written(log))
    before = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert time.monotonic() - before < 5
    assert "shoal resume s" in err
    assert shoal.json("show", "s")["status"] == "resumable"
    process = shoal.start("resume", "s")
    wait_until(lambda: len(written(log)) == 2)
    assert [attempt for _, attempt in written(log)] == [1, 2], "the interrupted attempt spent no retry"
    process.kill()
    process.communicate()


@pytest.mark.parametrize("tool", ["patient", "stubborn"])
def test_cancel_from_another_process_ends_the_work_for_real(shoal, tmp_path, tool):
    (tmp_path / "beside.py").write_text(TOOLS)
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        "id: cancel\ninputs: {log: {type: string}}\n"
        f"steps: [{{name: a, tool: 'beside:{tool}', inputs: {{log: '{{{{ inputs.log }}}}'}}}}, {{name: b, tool: 'json:dumps'}}]\n"
    )
    log = tmp_path / "log"
    process = shoal.start("run", flow, "-i", f"log={log}", "--run-id", "c", "--json")
    wait_until(lambda: written(log))
    assert shoal("cancel", "c").returncode == 0
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    told = json.loads(out)
    assert told["status"] == "canceled"
    assert [step["status"] for step in told["steps"]] == ["canceled", "skipped"]
    if tool == "stubborn":
        wait_until(lambda: not is_alive(written(log)[0][0]), 10)


def test_a_loop_killed_in_the_middle_runs_only_what_is_unfinished(shoal, tmp_path):
    (tmp_path / "beside.py").write_text(TOOLS)
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        "id: loop\ninputs: {log: {type: string}, door: {type: string}, items: {type: array}}\nsteps:\n"
        "  - {name: l, foreach: '{{ inputs.items }}', tool: 'beside:gate', concurrency: 4,\n"
        "     inputs: {log: '{{ inputs.log }}', door: '{{ inputs.door }}', v: '{{ item }}'}}\n"
    )
    log, door = tmp_path / "log", tmp_path / "door"
    items = json.dumps(list(range(100)))
    line = ["run", flow, "-i", f"log={log}", "-i", f"door={door}", "-i", f"items={items}", "--run-id", "l", "--json"]
    process = shoal.start(*line)
    wait_until(lambda: any(v >= 60 for v, _ in written(log)))
    time.sleep(0.5)
    process.kill()
    process.communicate()
    first = {v for v, _ in written(log)}
    door.touch()
    done = shoal(*line)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["v"] == list(range(100))
    again = [v for v, attempt in written(log) if attempt > 1]
    assert len(again) <= 4, "only items that were under way ran twice"
    assert len(first) >= 50
