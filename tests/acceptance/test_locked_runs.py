"""Locked runs with the package index that this machine is set up for, and without any."""

from __future__ import annotations

import json
import os
import re

import pytest

from acceptance.command import Command

FLOW = """
id: sizes
inputs: {bytes: {type: integer, default: 12345}}
steps:
  - {name: say, tool: "humanize:naturalsize", requirements: [humanize], inputs: {value: "{{ inputs.bytes }}"}}
outputs: {size: "{{ steps.say.outputs.result }}"}
"""
NO_INDEX = {
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    "UV_HTTP_RETRIES": "0",
    "UV_NO_CONFIG": "1",
    "PIP_CONFIG_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture
def flow(tmp_path):
    path = tmp_path / "flows" / "sizes.yaml"
    path.parent.mkdir()
    path.write_text(FLOW)
    return path


@pytest.mark.own_ray
@pytest.mark.timeout(300)
def test_what_is_locked_and_built_runs_on_a_new_ray_without_an_index(tmp_path, flow):
    online = Command(tmp_path / "home", None)
    made = online("tools", "lock", flow)
    assert made.returncode == 0, made.stderr
    assert re.search(r"^added +humanize:naturalsize +humanize [\d.]+$", made.stdout, re.MULTILINE)
    version = re.search(r"humanize ([\d.]+)", made.stdout)[1]
    assert "://" not in (flow.parent / "shoal.lock").read_text()
    first = online("run", flow, "--executor", "inline", "--json")
    assert json.loads(first.stdout)["outputs"] == {"size": "12.3 kB"}, first.stderr

    alone = {**NO_INDEX, "UV_CACHE_DIR": str(tmp_path / "no-cache")}
    restarted = Command(tmp_path / "home", None, **alone, SHOAL_RAY_CPUS="1")
    again = restarted("run", flow, "--json")
    assert json.loads(again.stdout)["outputs"] == {"size": "12.3 kB"}, again.stderr
    run = restarted.json("show", json.loads(again.stdout)["run_id"], "--events")
    assert [tool["packages"] for tool in run["tools"]] == [[f"humanize=={version}"]]
    assert run["lock_file"]["remarks"] == []
    assert [e["data"]["reused"] for e in run["events"] if e["name"] == "environment.built"] == [True]

    # Another home has built nothing.
    nothing = Command(tmp_path / "other", None, **alone)
    refused = nothing("run", flow, "--executor", "inline")
    assert refused.returncode == 3, refused.stderr
    assert f"humanize=={version} must come from the package index" in refused.stderr
