"""Builds: never half-done, one at a time for each key over all processes, and capped."""

import asyncio
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoal import faults
from shoal.environments.building import BuildPlan, build_here
from shoal.environments.cache import READY, EnvironmentFolder
from shoal.environments.index_settings import index_settings
from shoal.environments.provider import UvEnvironments
from shoal.errors import EnvironmentBuildError
from toolkit import DictBlobs, HereRunner
from wheels import legacy_tool_wheel, make_wheel


def lock(provider, *requirements, process=False, base_dir=None):
    return asyncio.run(provider.lock(requirements, process=process, base_dir=base_dir))


def build(provider, environment):
    return asyncio.run(provider.build(environment))


@pytest.fixture
def plan(tmp_path, provider, links, variables):
    make_wheel(links, "dep", "1.0", {"dep.py": "VERSION = '1.0'", "dep/data.txt": "x" * 1000})
    return BuildPlan(lock(provider, "dep"), str(tmp_path / "environments"), 10**12, index_settings(variables), DictBlobs())


def standing(root):
    return sorted(p.name for p in Path(root).iterdir() if (p / READY).exists() and not p.name.startswith("."))


def build_and_die(plan, mode):
    faults.arm("build.before_rename", mode=mode)
    build_here(plan)


@pytest.mark.parametrize(("mode", "code"), [("exit", 86), ("kill", -signal.SIGKILL)])
def test_a_build_that_dies_leaves_nothing_that_stands(plan, mode, code):
    process = multiprocessing.get_context("fork").Process(target=build_and_die, args=(plan, mode))
    process.start()
    process.join()
    assert process.exitcode == code
    assert standing(plan.root) == []
    built = build_here(plan)
    assert not built.reused
    assert standing(plan.root) == [built.key]
    assert subprocess.run([built.python, "-c", "import dep"], check=False).returncode == 0
    assert [p.name for p in Path(plan.root).iterdir() if p.name.startswith(".")] == []


def test_a_build_killed_while_it_installs_is_done_again(plan):
    """SIGKILL at random moments of a build; whatever stands afterwards is whole."""
    context = multiprocessing.get_context("fork")
    for delay in (0.0, 0.01, 0.02, 0.04):
        process = context.Process(target=build_here, args=(plan,))
        process.start()
        process.join(delay)
        process.kill()
        process.join()
        for key in standing(plan.root):
            python = EnvironmentFolder(Path(plan.root), 0).python(key)
            assert subprocess.run([python, "-c", "import dep"], check=False).returncode == 0
    assert subprocess.run([build_here(plan).python, "-c", "import dep"], check=False).returncode == 0


def note_build(plan, results):
    built = build_here(plan)
    results.put((built.key, built.reused))


def test_processes_build_a_key_once(plan):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=note_build, args=(plan, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(reused for _, reused in found) == [False, True, True, True]
    assert len({key for key, _ in found}) == 1


def test_scripts_of_an_environment_survive_its_move(links, provider):
    make_wheel(
        links,
        "speaks",
        "1.0",
        {"speaks.py": "def main(): print('hello')"},
        entry_points={"console_scripts": {"speaks": "speaks:main"}},
    )
    built = build(provider, lock(provider, "speaks"))
    script = Path(built.python).with_name("speaks")
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == "hello\n"


def test_a_damaged_wheel_is_refused(links, provider):
    make_wheel(links, "dep", "1.0", {"dep.py": ""})
    environment = lock(provider, "dep")
    make_wheel(links, "dep", "1.0", {"dep.py": "evil = True"})
    assert lock(provider, "dep") != environment  # and so uv has no copy of the first in its cache
    with pytest.raises(EnvironmentBuildError, match="Hash mismatch"):
        build(provider, environment)


def test_a_full_or_read_only_place_is_an_error_of_the_build(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentBuildError, match="could not be built in"):
        build_here(dataclasses.replace(plan, root=str(tmp_path / "file" / "below")))


# ---------------------------------------------------------------- the cap


@pytest.fixture
def aged(provider, links, tmp_path):
    """Build environments that were last asked for long ago, the first the longest."""

    def make(*versions):
        built = []
        for version in versions:
            make_wheel(links, "dep", version, {"dep.py": f"VERSION = {version!r}"})
            built.append(build(provider, lock(provider, f"dep=={version}")))
        for age, environment in enumerate(reversed(built)):
            past = time.time() - 3600 - age
            os.utime(Path(environment.python).parents[1] / READY, (past, past))
        provider.close()
        return built

    return make


def test_the_longest_unused_makes_room(aged, tmp_path):
    root = tmp_path / "environments"
    built = aged("1", "2", "3")
    known = EnvironmentFolder(root, 0).standing()
    assert [(e.key, e.packages) for e in known] == [(e.key, (f"dep=={n}",)) for n, e in enumerate(built, 1)]
    limit = sum(e.size for e in known) - 1
    assert EnvironmentFolder(root, limit).make_room("") == [built[0].key]
    assert standing(root) == sorted([built[1].key, built[2].key])
    assert EnvironmentFolder(root, 0).make_room(built[1].key) == [built[2].key]


def test_what_is_used_or_was_just_asked_for_stays(aged, tmp_path):
    root = tmp_path / "environments"
    used, asked, unused = aged("1", "2", "3")
    assert EnvironmentFolder(root, 0).ready(asked.key)
    code = "import dep, time; print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen([used.python, "-I", "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert EnvironmentFolder(root, 0).make_room("") == [unused.key]
        assert standing(root) == sorted([used.key, asked.key])
    finally:
        process.kill()
        process.communicate()
    assert EnvironmentFolder(root, 0).make_room("") == [used.key]


def test_a_new_build_makes_room(aged, links, tmp_path, variables, blobs):
    aged("1")
    small = UvEnvironments(tmp_path / "environments", blobs, HereRunner(), variables=variables, limit=1)
    make_wheel(links, "dep", "2", {"dep.py": ""})
    new = build(small, lock(small, "dep==2"))
    assert standing(tmp_path / "environments") == [new.key]


# ---------------------------------------------------------------- a tool in its environment


def test_a_legacy_tool_is_called_in_its_overlay(links, provider, tmp_path):
    """The tool of the language's first example, in a process of its own interpreter, through the invoker."""
    legacy_tool_wheel(links)
    built = build(provider, lock(provider, "return-answer-tool==0.1.2"))
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from toolkit import DictBlobs, Invoking, request
from shoal.model.tools import ToolLock
invoke = Invoking(DictBlobs())
lock = ToolLock(request("return_answer_tool@0.1.2", "distribution", "return-answer-tool"), "entry_point", "return-answer-tool",
                ("return-answer-tool", "0.1.2"))
print(invoke.outputs(invoke(lock, {{"answer": '{{"answer": 42}}'}})), invoke.invoker.describe(lock).num_cpus)
import dataclasses
print(invoke(dataclasses.replace(lock, distribution=("return-answer-tool", "9"))).error.code)
"""
    done = subprocess.run([built.python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'result': 42} None\ntool_changed\n"


def test_the_base_interpreter_is_untouched(provider, links):
    make_wheel(links, "dep", "1", {"dep.py": ""})
    build(provider, lock(provider, "dep"))
    assert subprocess.run([sys.executable, "-c", "import dep"], capture_output=True, check=False).returncode == 1
