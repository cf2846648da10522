"""A program of a user's, in a process of its own: `python workflow_program.py WHAT HOME ADDRESS`. Its tasks are of `__main__`."""

import json
import os
import sys
import time
from pathlib import Path

import ray

from shoal import current_context, workflow

WHAT, HOME, ADDRESS = sys.argv[1:4]
HERE = Path(HOME)


def note(text):
    with (HERE / "log").open("a") as file:
        file.write(f"{text} {os.getpid()}\n")


@ray.remote
def first():
    note("first")
    return 1


@ray.remote
def held(value, name="door"):
    note("held")
    while not (HERE / name).exists():
        time.sleep(0.05)
    return value + 1


@ray.remote
def join(a, b):
    note("join")
    return a + b


@ray.remote
def noted(*parts, pace=0.05, grow=0):
    """Add up, and leave a note of the attempt; now and then answer with more work."""
    context = current_context()
    line = {"key": f"{context.run_id}:{context.step}", "attempt": context.attempt, "at": time.time()}
    with (HERE / "notes").open("a") as file:
        file.write(json.dumps(line) + "\n")
    time.sleep(pace)
    total = 1 + sum(parts)
    return workflow.continuation(noted.bind(total, grow=grow - 1)) if grow else total


def storm_dag():
    """Twenty tasks or so: a chain, a diamond, and loops of continuations. Its value is 68."""
    node = noted.bind()
    for _ in range(6):
        node = noted.bind(node)
    sides = [noted.bind(node, grow=n) for n in range(4)]
    return noted.bind(noted.bind(sides[0], sides[1]), *sides, sides[3])


def dag():
    shared = first.bind()
    return join.bind(held.bind(shared), shared)


@ray.remote
def in_a_task():
    """A task of Ray's own, on the journal's host, runs a workflow."""
    os.environ["SHOAL_HOME"] = HOME
    value = workflow.run(noted.bind(20), workflow_id="in-a-task")
    workflow.shutdown()
    return value


def restart():
    """A program that leaves its Ray and starts another one, and runs workflows on both; none of it says a word of Shoal's settings."""
    os.environ["SHOAL_HOME"] = HOME
    for number in range(2):
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        assert workflow.run(noted.bind(number)) == number + 1
        assert ray.get(workflow.run_async(noted.bind(number))) == number + 1
        if number == 0:
            assert ray.get(in_a_task.remote()) == 21
        ray.shutdown()
    assert workflow.get_output("in-a-task") == 21


def main():
    if WHAT == "restart":
        restart()
        return
    workflow.init(home=HOME, ray_address=ADDRESS, detached=WHAT in ("detached", "detached-end"))
    match WHAT:
        case "start":
            for number in range(3):
                workflow.run_async(dag(), workflow_id=f"r{number}")
            time.sleep(600)
        case "detached":
            workflow.run_async(dag(), workflow_id="d")
            while workflow.get_status("d") != workflow.RUNNING:
                time.sleep(0.05)
        case "detached-end":
            assert workflow.get_output("d") == 3
            workflow.shutdown(detached=True)
        case "storm":
            refs = [ref for _, ref in workflow.resume_all()] or [
                workflow.run_async(storm_dag(), workflow_id=f"s{number}") for number in range(2)
            ]
            ray.get(refs)
        case "resume":
            assert {status for _, status in workflow.list_all()} == {workflow.RESUMABLE}
            (HERE / "door").touch()
            resumed = workflow.resume_all()
            assert [name for name, _ in resumed] == ["r0", "r1", "r2"]
            assert ray.get([ref for _, ref in resumed]) == [3, 3, 3]
            assert workflow.list_all(workflow.SUCCESSFUL) == [(f"r{n}", "SUCCESSFUL") for n in range(3)]


if __name__ == "__main__":
    main()
