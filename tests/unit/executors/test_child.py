"""The clean child: its one file, what it is given, how it fails."""

import ast
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.errors import NonRetryableError, OutOfMemoryError, StepFailedError, StepTimeoutError, WorkerLostError
from shoal.executors.attempt import Attempt
from shoal.executors.process import driver
from shoal.executors.process.child import carry_in_child, child_variables
from shoal.model.attempts import Succeeded
from shoal.model.encoding import decode, encode, encode_manifest
from shoal.model.policies import Isolation
from shoal.model.tools import BuiltEnvironment
from shoal.model.values import SecretName, SecretText
from shoal.testing.executor_suite import FolderBlobs, call
from shoal.testing.executor_tools import SuiteInvoker

TOOLS = """
import os, sys, time
def join(parts, sep, context=None):
    print("joining"); print("to stderr", file=sys.stderr)
    context.progress(1, 2, "half")
    assert context.idempotency_key == "run:x" and context.attempt == 1
    return {"joined": sep.join(parts), "modules": sorted(m for m in sys.modules if m.split(".")[0] in ("shoal", "ray"))}
def variables(): return dict(os.environ)
async def later(): return [1]
def boom(): raise LookupError("gone")
def pair(): return (1, 2)
def leave(): sys.exit(4)
def die(): os._exit(4)
def wait(context):
    while not context.canceled: time.sleep(0.01)
    return "partial"
def stuck():
    import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)
def grow():
    held = b"x" * 300_000_000; time.sleep(30); return len(held)
class Remote:
    def __init__(self, function): self._function = function
wrapped = Remote(lambda a: a + 1)
"""


@pytest.fixture
def run(tmp_path):
    blobs = FolderBlobs(str(tmp_path))
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("tools_here.py", TOOLS)
    modules = blobs.put((tmp_path / "z").read_bytes())

    def run(name, *, python=None, **options):
        attempt_call = call("x", isolation=Isolation.PROCESS, **options)
        lock = replace(attempt_call.tool, target=f"tools_here:{name}", modules=modules)
        environment = BuiltEnvironment("k", python, 0.0, reused=True) if python else None
        attempt = Attempt(replace(attempt_call, tool=lock, environment=environment))
        outcome = carry_in_child(attempt, invoker=SuiteInvoker(blobs), blobs=blobs)
        return outcome, attempt.completion(outcome)[0].logs

    run.blobs = blobs
    return run


def plain(outcome, blobs=None):
    assert isinstance(outcome, Succeeded), outcome
    return {name: decode(value, blobs and blobs.get, trusted=False) for name, value in outcome.outputs.items()}


def test_the_driver_is_python_3_8_and_imports_the_standard_library_only():
    tree = ast.parse(Path(driver.__file__).read_text(), feature_version=(3, 8))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


def test_inputs_are_json_files_lists_and_secrets(run):
    put = run.blobs.put
    parts = encode_manifest([encode("a", put), encode("b" * 100_000, put)], put)
    outcome, logs = run("join", parts=parts, sep=SecretText(("<", SecretName("s"), ">")), secrets={"s": "12345678"})
    assert plain(outcome, run.blobs) == {"joined": "a<12345678>" + "b" * 100_000, "modules": []}
    assert outcome.outputs["joined"].digest is not None
    assert sorted(logs.splitlines()) == [b"joining", b"to stderr"]


def test_a_python_object_is_refused_for_good(run):
    outcome, _ = run("join", parts=encode({1, 2}, run.blobs.put), sep="")
    assert isinstance(outcome.error, NonRetryableError)
    assert not outcome.retryable
    assert "builtins.set" in str(outcome.error)


def test_its_variables_are_a_few_and_its_own(run, monkeypatch):
    monkeypatch.setenv("SHOAL_SECRET_X", "no")
    monkeypatch.setenv("LC_TIME", "C")
    outcome, _ = run("variables", env={"GIVEN": "1"})
    found = plain(outcome)
    assert found["GIVEN"] == "1"
    assert found["LC_TIME"] == "C"
    assert "SHOAL_SECRET_X" not in found
    assert "SHOAL_SECRET_X" not in child_variables(call("x"), clean=False)
    assert child_variables(call("x"), clean=False)["PATH"]


@pytest.mark.parametrize(("name", "expected"), [("later", {"result": [1]})])
def test_async_tools(run, name, expected):
    assert plain(run(name)[0]) == expected


def test_a_remote_function_is_unwrapped(run):
    assert plain(run("wrapped", a=1)[0]) == {"result": 2}


@pytest.mark.parametrize(
    ("name", "error", "words", "retryable"),
    [
        ("boom", StepFailedError, "gone", True),
        ("pair", StepFailedError, "tuple", False),
        ("leave", StepFailedError, "sys.exit(4)", True),
        ("die", WorkerLostError, "exit status 4", True),
        ("join", StepFailedError, "do not fit", False),
        ("nothing", StepFailedError, "has no 'nothing'", False),
    ],
)
def test_failures(run, name, error, words, retryable):
    outcome, _ = run(name)
    assert isinstance(outcome.error, error)
    assert words in str(outcome.error)
    assert outcome.retryable is retryable
    if name == "boom":
        assert outcome.error.exception == "LookupError"
        assert "driver.py" not in outcome.error.traceback
        assert 'File "tools_here.py", line' in outcome.error.traceback
        assert "Exception" in outcome.exception_names


def test_a_timeout_sets_the_flag_and_then_kills(run):
    assert isinstance(run("wait", timeout=0.2, grace=20)[0].error, StepTimeoutError)
    assert isinstance(run("stuck", timeout=0.2, grace=0.1)[0].error, StepTimeoutError)


def test_memory(run):
    outcome, _ = run("grow", memory=100_000_000)
    assert isinstance(outcome.error, OutOfMemoryError)


def test_an_interpreter_that_is_not_there_is_an_environment_error(run):
    outcome, _ = run("boom", python="/nowhere/python")
    assert outcome.error.code == "environment_build"


def test_nothing_is_left_behind(run):
    fds = len(list(Path("/proc/self/fd").iterdir()))
    run("boom")
    assert len(list(Path("/proc/self/fd").iterdir())) == fds


def test_what_is_no_json_names_output_type_and_what_to_do(run):
    message = run("pair")[0].error.message
    assert "output result is of type tuple" in message
    assert "return a list" in message
    assert "isolation: task" in message
