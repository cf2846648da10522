"""A program of a user's, in a process of its own: `python workflow_program.py WHAT HOME ADDRESS`. Its tasks are of `__main__`."""

import os
import sys
import time
from pathlib import Path

import ray

from shoal import workflow

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


def dag():
    shared = first.bind()
    return join.bind(held.bind(shared), shared)


def main():
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
        case "resume":
            assert {status for _, status in workflow.list_all()} == {workflow.RESUMABLE}
            (HERE / "door").touch()
            resumed = workflow.resume_all()
            assert [name for name, _ in resumed] == ["r0", "r1", "r2"]
            assert ray.get([ref for _, ref in resumed]) == [3, 3, 3]
            assert workflow.list_all(workflow.SUCCESSFUL) == [(f"r{n}", "SUCCESSFUL") for n in range(3)]


if __name__ == "__main__":
    main()
