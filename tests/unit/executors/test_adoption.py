"""A process that takes on an overlay is what the overlay's interpreter would have made of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import json, os, sys
from shoal.executors.ray.adoption import adopt
{before}
refused = adopt(sys.argv[1])
import importlib.metadata, multiprocessing.spawn
found = {{"refused": refused, "prefix": sys.prefix, "executable": sys.executable}}
if not refused:
    import only_there, both, space.ours
    found["values"] = [only_there.VALUE, both.VALUE, space.ours.VALUE]
    found["version"] = importlib.metadata.version("both")
    found["spawned"] = os.fsdecode(multiprocessing.spawn.get_executable())
    found["hook"] = getattr(sys, "hooked", False)
print(json.dumps(found))
"""


@pytest.fixture
def overlay(tmp_path):
    """Lay out an overlay by hand; beside it stands a folder of the base's, with other versions of the same names."""
    base = tmp_path / "base"
    site = tmp_path / "env" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for folder, value in ((base, "base"), (site, "overlay")):
        (folder / "space").mkdir(parents=True)
        (folder / "both.py").write_text(f"VALUE = {value!r}\n")
        (folder / f"both-{len(value)}.dist-info").mkdir()
        (folder / f"both-{len(value)}.dist-info" / "METADATA").write_text(f"Name: both\nVersion: {len(value)}\n")
    (base / "space" / "theirs.py").write_text("VALUE = 'base'\n")
    (site / "space" / "ours.py").write_text("VALUE = 'overlay'\n")
    (site / "only_there.py").write_text("VALUE = 'overlay'\n")
    (site / "hook.pth").write_text("import sys; sys.hooked = True\n")
    (tmp_path / "env" / "bin").mkdir()
    python = tmp_path / "env" / "bin" / "python"
    python.symlink_to(sys.executable)
    return python, base


def run(python, base, before=""):
    text = CHILD.format(before=f"import site; site.getsitepackages = lambda: [{str(base)!r}]\n{before}")
    environment = {**os.environ, "PYTHONPATH": str(base)}
    done = subprocess.run(
        [sys.executable, "-c", text, str(python)], capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_packages_come_first_and_it_says_who_it_is(overlay):
    python, base = overlay
    found = run(python, base, before="import space.theirs")
    prefix = str(python.parent.parent)
    assert found == {
        "refused": "",
        "prefix": prefix,
        "executable": str(python),
        "values": ["overlay", "overlay", "overlay"],
        "version": "7",
        "spawned": str(python),
        "hook": True,
    }


@pytest.mark.parametrize("module", ["both", "space.ours"])
def test_what_has_loaded_something_of_it_does_not_become_it(overlay, module):
    python, base = overlay
    (base / "space" / "ours.py").write_text("VALUE = 'base'\n")
    found = run(python, base, before=f"import {module}")
    assert found["refused"] == f"{module} is loaded already"
    assert found["prefix"] == sys.prefix
    assert found["executable"] == sys.executable


def test_a_folder_that_is_no_environment_is_refused(tmp_path):
    found = run(tmp_path / "bin" / "python", tmp_path)
    assert found["refused"] == f"there is no environment at {Path(tmp_path)}"
