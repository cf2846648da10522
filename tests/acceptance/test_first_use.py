"""What a new user does first, on real Ray and inline: the first example, conflicting versions, a large loop, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.command import Command
from wheels import make_wheel

ANSWER = """
id: answer-life-universe-everything
name: Answer
description: Returns the answer
inputs:
  - {name: question, type: string, default: "six by nine"}
steps:
  - name: answer
    tool: return_answer_tool@0.1.2
    inputs:
      - {name: answer, value: '{"answer": 42}'}
    outputs:
      - name: result
outputs:
  - {name: answer, value: "{{steps.answer.outputs.result}}"}
"""
LEGACY = """
import ray

@ray.remote(num_cpus=0.5)
def return_answer(answer: str) -> dict:
    import json
    return {"result": json.loads(answer)["answer"]}
"""


@pytest.fixture
def links(tmp_path):
    folder = tmp_path / "links"
    make_wheel(
        folder,
        "return-answer-tool",
        "0.1.2",
        {"return_answer_tool/__init__.py": LEGACY},
        entry_points={"tool.entrypoint": {"return_answer_tool": "return_answer_tool:return_answer"}},
    )
    for version in ("1.0", "2.0"):
        make_wheel(folder, "lib", version, {"lib.py": f"VERSION = {version!r}\n"})
        make_wheel(
            folder,
            f"tell-{version[0]}",
            "1.0",
            {f"tell_{version[0]}.py": "import lib\n\ndef run():\n    return {'version': lib.VERSION}\n"},
            requires=[f"lib=={version}"],
            entry_points={"tool.entrypoint": {f"tell-{version[0]}": f"tell_{version[0]}:run"}},
        )
    return {"UV_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1"}


def test_the_first_example_prints_its_outputs(tmp_path, ray_address, links):
    shoal = Command(tmp_path / "home", ray_address, **links)
    (tmp_path / "answer.yaml").write_text(ANSWER)
    done = shoal("run", tmp_path / "answer.yaml")
    assert (done.returncode, done.stdout) == (0, "answer: 42\n"), done.stderr


def test_two_steps_of_one_run_use_two_versions_of_one_package(tmp_path, ray_address, links):
    shoal = Command(tmp_path / "home", ray_address, **links)
    flow = tmp_path / "versions.yaml"
    flow.write_text(
        "id: versions\nsteps:\n  - {name: one, tool: tell-1}\n  - {name: two, needs: [], tool: tell-2}\n"
        "outputs: {one: '{{ steps.one.outputs.version }}', two: '{{ steps.two.outputs.version }}'}\n"
    )
    done = shoal("run", flow, "--json")
    assert json.loads(done.stdout)["outputs"] == {"one": "1.0", "two": "2.0"}, done.stderr


def test_an_existing_remote_function_keeps_its_own_options_and_the_steps_override_them(tmp_path, ray_address):
    shoal = Command(tmp_path / "home", ray_address)
    (tmp_path / "beside.py").write_text(
        "import ray\n\n@ray.remote(num_cpus=0.5, max_retries=1, retry_exceptions=[ValueError], runtime_env={})\n"
        "def fails():\n    raise ValueError('always')\n"
    )
    flow = tmp_path / "options.yaml"
    flow.write_text(
        "id: options\nsteps:\n  - {name: own, tool: 'beside:fails', on_error: continue}\n"
        "  - {name: told, tool: 'beside:fails', on_error: continue, retry: {max_attempts: 3, initial: 0}}\n"
    )
    done = shoal("run", flow, "--json")
    assert done.returncode == 0, done.stderr
    assert [step["attempts"] for step in json.loads(done.stdout)["steps"]] == [2, 3]


def test_every_tool_that_cannot_be_had_is_named_before_the_first_dispatch(tmp_path, links):
    shoal = Command(tmp_path / "home", None, **links)
    make_wheel(Path(links["UV_FIND_LINKS"]), "both", "1.0", {"both.py": ""}, requires=["lib==1.0", "lib==2.0"])
    flow = tmp_path / "bad.yaml"
    flow.write_text(
        "id: bad\nsteps:\n  - {name: a, tool: 'json:dumps', inputs: {obj: 1}}\n  - {name: b, tool: no-such-tool}\n"
        "  - {name: c, tool: tell-1@9.9}\n  - {name: d, tool: both}\n"
    )
    done = shoal("run", flow, "--executor", "inline", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["error"]["code"] == "tool_resolution"
    lines = told["error"]["message"].splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["step b", " no-such-tool"],
        ["step c", " tell-1@9.9"],
        ["step d", " both"],
    ], lines
    assert [step["attempts"] for step in told["steps"]] == [0, 0, 0, 0]


LOOP = """
import resource, sys
import asyncio, json
import shoal

async def main(home, flow, count):
    async with shoal.connect(home=home) as client:
        handle = await client.start(flow, {"items": list(range(count))}, executor=EXECUTOR)
        view = await handle.wait()
        assert view.run.status.value == "succeeded", view.run.error
        assert len(view.outputs["n"]) == count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
LOOP_FLOW = """
id: loop
inputs: {items: {type: array}}
steps:
  - {name: l, foreach: "{{ inputs.items }}", tool: "beside:one", inputs: {n: "{{ item }}"}}
"""


def test_a_loop_over_two_thousand_items_on_ray_stays_within_its_memory(tmp_path, ray_address):
    """The process that drives 2,000 items may be 20 MiB larger than one that drives 200."""
    (tmp_path / "beside.py").write_text("def one(n: int) -> dict:\n    return {'n': n}\n")
    (tmp_path / "loop.yaml").write_text(LOOP_FLOW)
    peaks = []
    for count in (200, 2_000):
        code = LOOP.replace("EXECUTOR", "'ray'")
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"home{count}"), str(tmp_path / "loop.yaml"), str(count)],
            capture_output=True,
            text=True,
            env={**os.environ, "SHOAL_RAY_ADDRESS": ray_address},
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 20, f"{peaks} MiB"


def test_a_full_disk_is_an_error_that_says_so_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        shoal = Command(disk / "home", None)
        flow = tmp_path / "fill.yaml"
        (tmp_path / "beside.py").write_text("def big(n: int) -> dict:\n    return {'text': str(n) * 60_000}\n")
        steps = "".join(f"  - {{name: s{i}, tool: 'beside:big', inputs: {{n: {i}}}}}\n" for i in range(80))
        flow.write_text(f"id: fill\nsteps:\n{steps}")
        done = shoal("run", flow, "--executor", "inline", "--run-id", "full")
        assert done.returncode == 3, done.stderr
        assert "disk" in done.stderr.lower() or "space" in done.stderr.lower()
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True, capture_output=True)
        before = shoal.json("show", "full")
        recorded = [s["name"] for s in before["steps"] if s["status"] == "succeeded"]
        assert before["status"] == "resumable"
        assert recorded
        done = shoal("resume", "full", "--json")
        assert done.returncode == 0, done.stderr
        after = {s["name"]: s["attempts"] for s in json.loads(done.stdout)["steps"]}
        assert all(after[name] == 1 for name in recorded), "what was recorded did not run again"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)
