"""The benchmark suite works: small sizes, on the session's Ray. What it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(170)
def test_a_quick_look_measures_both_sides_and_writes_what_it_found(ray_address, tmp_path):
    line = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--only",
        "chain",
        "--ray-address",
        ray_address,
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(line, check=False, cwd=ROOT, capture_output=True, text=True, timeout=160)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "quick.json").read_text())
    assert data["quick"] is True
    assert data["fsync"].startswith("on")
    assert data["machine"].keys() >= {"cores", "memory_gib", "python", "ray", "filesystem", "fsync_ms"}
    figures = data["rows"]["chain"]["figures"]
    assert figures.keys() == {"shoal", "shoal_journal", "tasks", "actor_fsync"}
    assert all(len(samples) == 1 and samples[0] > 0 for samples in figures.values())
    told = {comparison["goal"]: comparison["verdict"] for comparison in data["comparisons"]}
    assert told["chain-tasks"] in {"met", "missed"}
    assert told["fanout-wide"] == "not measured"
    assert (tmp_path / "quick.svg").read_text().startswith("<svg")
    assert "chain of 300" in done.stdout
