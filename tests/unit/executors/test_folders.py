"""Temporary folders of processes that live, and of those that were killed."""

import subprocess
import sys

from shoal.executors.ray.folders import own_folder


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_kept(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from shoal.executors.ray.folders import own_folder\n"
        "print(own_folder('mine-', Path(sys.argv[1])), flush=True)\n"
        "sys.stdin.read() if len(sys.argv) > 2 else os._exit(9)\n"
    )
    dead = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    living = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        kept = living.stdout.readline().strip()
        other = tmp_path / "mine-not-ours"
        other.mkdir()
        ours = own_folder("mine-", tmp_path)
        assert ours.stat().st_mode & 0o777 == 0o700
        assert {str(p) for p in tmp_path.iterdir()} == {kept, str(other), str(ours)}
        assert dead.stdout.strip() not in (kept, str(ours))
    finally:
        living.communicate()
