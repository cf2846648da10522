"""The code of tasks: stored by value or imported by name, compared, marked, found in the folders of its program."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import sys

import pytest
import ray

from shoal import workflow
from shoal.errors import TaskCodeChangedError, ToolResolutionError
from shoal.workflow._code import load_code, own_folders, source_hash, starts_ray_work, take_code
from shoal.workflow._pickling import Packer
from toolkit import DictBlobs


@pytest.fixture
def blobs():
    return DictBlobs()


def take(thing, blobs):
    return take_code(thing, Packer(blobs.put).dumps, blobs.put)


def module_level(x):
    return x + 1


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's program that a test may edit."""
    file = tmp_path / "users_tasks.py"
    file.write_text("import ray\n\n\n@ray.remote\ndef task(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop("users_tasks", None)


def test_a_function_that_a_module_leads_to_is_imported_by_name(module, blobs):
    function = importlib.import_module("users_tasks").task._function
    code = take(function, blobs)
    assert (code.module, code.name, code.blob) == ("users_tasks", "task", None)
    assert not blobs.data
    assert load_code(code, blobs.get, check=True) is function
    assert str(module.parent) in code.folders


def test_a_changed_source_is_refused_unless_the_change_is_accepted(module, blobs):
    code = take(importlib.import_module("users_tasks").task._function, blobs)
    module.write_text(module.read_text().replace("+ 1", "+ 10"))
    sys.modules.pop("users_tasks")
    importlib.invalidate_caches()
    with pytest.raises(TaskCodeChangedError, match="no longer the one"):
        load_code(code, blobs.get, check=True)
    assert load_code(code, blobs.get, check=False)(1) in (2, 11)
    module.write_text("")
    sys.modules.pop("users_tasks")
    with pytest.raises(TaskCodeChangedError, match="any more"):
        load_code(dataclasses.replace(code, source=""), blobs.get, check=False)


def test_a_module_that_is_not_there_is_named(blobs):
    code = dataclasses.replace(take(module_level, blobs), module="no_such_module_here", blob=None)
    with pytest.raises(ToolResolutionError, match="no_such_module_here"):
        load_code(code, blobs.get, check=True)


def test_a_function_of_a_function_is_stored_with_what_it_holds_and_is_the_same_code_ever_after(blobs):
    held = {"n": 41}

    @ray.remote
    def task(x):
        return x + held["n"]

    @ray.remote
    def caller(x):
        return task.bind(x)

    code = take(caller._function, blobs)
    assert code.blob in blobs.data
    found = load_code(code, blobs.get, check=True)
    assert found is not caller._function
    assert take(found, blobs) == code, "what was loaded from a code is that code"
    inner = found(1)._body
    assert inner(1) == 42
    once = take(inner, blobs)
    again = take(load_code(code, blobs.get, check=True)(1)._body, blobs)
    assert once.blob == again.blob


def test_code_of_another_python_is_refused(blobs):
    code = dataclasses.replace(take(lambda: 1, blobs), python="3.7")
    with pytest.raises(TaskCodeChangedError, match=r"Python 3\.7"):
        load_code(code, blobs.get, check=True)


def test_a_hash_is_of_the_source_or_else_of_the_byte_code():
    space = {}
    exec("def f(x): return x + 1\ndef g(x): return x + 2", space)  # noqa: S102
    assert source_hash(space["f"]) != source_hash(space["g"])
    assert source_hash(module_level) == source_hash(module_level)


def test_own_folders_hold_no_installed_packages():
    assert not [folder for folder in own_folders() if "site-packages" in folder or folder == sys.base_prefix]


def test_a_task_that_starts_work_of_ray_is_known_by_its_names():
    def helps():
        return module_level_remote.remote(1)

    assert starts_ray_work(helps)
    assert starts_ray_work(calls_one_that_does)
    assert not starts_ray_work(module_level)


module_level_remote = ray.remote(module_level)


def calls_one_that_does():
    return indirectly()


def indirectly():
    return module_level_remote.remote(1)


def test_a_changed_task_fails_its_run_and_goes_on_when_that_is_accepted(module, tmp_path):
    workflow.shutdown()
    workflow.init(executor="inline", home=str(tmp_path / "home"))
    try:
        task = importlib.import_module("users_tasks").task

        @ray.remote
        def gate():
            assert (tmp_path / "go").exists()
            return 1

        with pytest.raises(workflow.WorkflowExecutionError):
            workflow.run(task.bind(gate.bind()), workflow_id="w")
        (tmp_path / "go").touch()
        module.write_text(module.read_text().replace("+ 1", "+ 10"))
        sys.modules.pop("users_tasks")
        importlib.invalidate_caches()
        with pytest.raises(workflow.WorkflowExecutionError) as caught:
            workflow.resume("w")
        assert isinstance(caught.value.__cause__, TaskCodeChangedError)
        assert workflow.resume("w", accept_code_change=True) == 11
    finally:
        workflow.shutdown()


def test_errors_pickle_into_a_process_that_knows_nothing_of_workflows():
    error = workflow.WorkflowExecutionError("x", workflow_id="w", failure={"code": "timeout", "message": "late"})
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is workflow.WorkflowExecutionError
    assert found.__cause__.code == "timeout"
    assert b"shoal.workflow.exceptions" in pickle.dumps(error)
