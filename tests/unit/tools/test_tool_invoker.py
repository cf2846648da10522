"""What an attempt's outcome is, for every kind of tool and every way it can go wrong."""

import ast
import pickle
import sys
import textwrap
from pathlib import Path

import pytest

from shoal.errors import NotFoundError, OutOfMemoryError, RunCanceledError, StepFailedError
from shoal.model.encoding import decode, encode
from shoal.model.tools import ToolLock, ToolOptions, ToolReference, ToolRequest
from shoal.model.values import INLINE_LIMIT, Arguments, SecretName, SecretText


def test_a_mapping_is_the_outputs(invoke, module):
    name = module("def f(a, b=2):\n    return {'sum': a + b, 'text': 'x'}")
    assert invoke.outputs(invoke(f"{name}:f", {"a": 1})) == {"sum": 3, "text": "x"}


@pytest.mark.parametrize("answer", ["42", "None", "[1, 2]", "'{{ steps.x }}'", "{1: 2}", "(1, 2)"])
def test_anything_else_is_the_output_result(invoke, module, answer):
    name = module(f"def f():\n    return {answer}")
    assert invoke.outputs(invoke(f"{name}:f")) == {"result": ast.literal_eval(answer)}


def test_an_async_tool_is_awaited(invoke, module):
    name = module("import asyncio\nasync def f(a):\n    await asyncio.sleep(0)\n    return a * 2")
    assert invoke.outputs(invoke(f"{name}:f", {"a": 4})) == {"result": 8}


def test_the_standard_library_has_tools(invoke):
    assert invoke.outputs(invoke("math:sqrt", {"x": 9})) == {"result": 3.0}
    assert invoke.outputs(invoke("os.path:join", {"a": "x"})) == {"result": "x"}


def test_what_python_takes_by_position_only_has_no_gaps(invoke, module):
    name = module("def f(a=1, b=2, /, c=3): return [a, b, c]")
    assert invoke.outputs(invoke(f"{name}:f", {"a": 5, "c": 6})) == {"result": [5, 2, 6]}
    assert invoke.outputs(invoke(f"{name}:f", {"b": 7, "a": 5})) == {"result": [5, 7, 3]}
    assert "missing input 'a'" in invoke(f"{name}:f", {"b": 7}).error.message


def test_large_results_are_blobs_before_the_answer(invoke, module):
    name = module("def f(n):\n    return {'text': 'x' * n, 'object': {1, 2}}")
    outcome = invoke(f"{name}:f", {"n": INLINE_LIMIT + 1})
    assert outcome.outputs["text"].digest in invoke.blobs.data
    assert outcome.outputs["object"].codec == "pickle"
    assert invoke.outputs(outcome)["object"] == {1, 2}


def test_holes_are_filled_with_objects_blobs_and_secrets(invoke, module):
    name = module("def f(a, b, token):\n    return [sorted(a['set']), len(b), token]")
    big = encode("y" * 100_000, invoke.blobs.put)
    arguments = Arguments(
        {"a": {"set": None}, "b": None, "token": None},
        (
            (("a", "set"), encode({3, 1}, invoke.blobs.put)),
            (("b",), big),
            (("token",), SecretText(("Bearer ", SecretName("key")))),
        ),
    )
    outcome = invoke(f"{name}:f", arguments=arguments, secrets={"key": "s3cret-value"})
    assert invoke.outputs(outcome) == {"result": [[1, 3], 100_000, "Bearer s3cret-value"]}


def test_a_lost_blob_fails_the_attempt_with_its_own_error(invoke, module):
    name = module("def f(a):\n    return a")
    value = encode("y" * 100_000, invoke.blobs.put)
    invoke.blobs.data.clear()
    outcome = invoke(f"{name}:f", arguments=Arguments({"a": None}, ((("a",), value),)))
    assert isinstance(outcome.error, NotFoundError)


def test_a_missing_declared_output_is_named_with_what_there_was(invoke, module):
    name = module("def f():\n    return {'there': 1}")
    outcome = invoke(f"{name}:f", outputs=("there", "absent"))
    assert not outcome.retryable
    assert "'absent'" in outcome.error.message
    assert "'there'" in outcome.error.message


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "missing input 'a'"),
        ({"a": 1, "zz": 2}, "unknown input 'zz'; the tool takes a, b"),
        ({"b": 1}, "missing input 'a'"),
    ],
)
def test_wrong_inputs_are_named_and_never_retried(invoke, module, inputs, said):
    name = module("def f(a, b=1):\n    raise AssertionError('called')")
    outcome = invoke(f"{name}:f", inputs)
    assert said in outcome.error.message
    assert isinstance(outcome.error, StepFailedError)
    assert not outcome.retryable


def test_a_failure_carries_the_tools_own_traceback(invoke, module):
    name = module(
        textwrap.dedent("""
        class Odd(ValueError):
            pass

        def inner():
            raise Odd("what happened")

        def f():
            try:
                inner()
            except Odd as error:
                raise RuntimeError("outer") from error

        async def g():
            inner()
        """)
    )
    outcome = invoke(f"{name}:f")
    error = outcome.error
    assert (error.message, error.exception, error.step, error.run_id) == (
        "RuntimeError: outer",
        "RuntimeError",
        "step",
        "run-1",
    )
    assert "in inner" in error.traceback
    assert "direct cause" in error.traceback
    assert "shoal/tools" not in error.traceback
    assert outcome.retryable
    outcome = invoke(f"{name}:g")
    assert "in g" in outcome.error.traceback
    assert "asyncio" not in outcome.error.traceback
    assert "shoal/tools" not in outcome.error.traceback
    assert {"Odd", f"{name}.Odd", "ValueError", "Exception"} <= set(outcome.exception_names)


AWFUL = """
import sys

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")
    __repr__ = __str__

class Own(BaseException):
    pass

class Locked(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.handle = open("/dev/null")
    def __reduce__(self):
        raise TypeError("never")

def mute(): raise Mute()
def own(): raise Own("base")
def locked():
    error = Locked("x"); error.handle.close(); raise error
def endless(n=0): return endless(n + 1)
def huge(): raise ValueError("m" * 10_000_000)
def surrogate(): raise ValueError("\\udce4")
def memory(): raise MemoryError("too much")
def group(): raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])
def generator(): return (i for i in range(3))
def unpicklable(): return lambda: 1
"""


@pytest.mark.parametrize(
    "function", ["mute", "own", "locked", "endless", "huge", "surrogate", "group", "generator", "unpicklable"]
)
def test_no_exception_is_too_awful(invoke, module, function):
    outcome = invoke(f"{module(AWFUL)}:{function}")
    assert outcome.kind == "failed"
    assert isinstance(outcome.error, StepFailedError)
    assert len(outcome.error.message) < 20_000
    assert len(outcome.error.traceback or "") < 70_000
    outcome.error.message.encode()
    assert pickle.loads(pickle.dumps(outcome)).error.to_json() == outcome.error.to_json()


def test_a_memory_error_is_out_of_memory(invoke, module):
    assert isinstance(invoke(f"{module(AWFUL)}:memory").error, OutOfMemoryError)


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "raise KeyboardInterrupt"])
def test_exits_are_left_to_the_executor(invoke, module, code):
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        invoke(f"{module(f'def f():{chr(10)}    {code}')}:f")


def test_non_retryable_errors_and_their_subclasses_are_not_retried(invoke, module):
    name = module(
        "from shoal.errors import NonRetryableError\nclass Mine(NonRetryableError):\n    pass\n"
        "def f():\n    raise Mine('never again')\ndef g():\n    raise ValueError"
    )
    outcome = invoke(f"{name}:f")
    assert not outcome.retryable
    assert "NonRetryableError" in outcome.exception_names
    assert "never again" in outcome.error.message
    assert invoke(f"{name}:g").retryable


def test_secrets_are_masked_in_errors_and_not_in_results(invoke, module):
    name = module(
        "def f(token):\n    raise ValueError('bad ' + token)\ndef g(token):\n    return token\ndef h(other):\n    pass"
    )
    arguments = Arguments({"token": None}, ((("token",), SecretText((SecretName("t"),))),))
    secrets = {"t": "hunter2hunter2", "short": "ValueErr"[:7]}
    outcome = invoke(f"{name}:f", arguments=arguments, secrets=secrets)
    assert outcome.error.message == "ValueError: bad ***"
    assert "hunter2" not in outcome.error.traceback
    assert invoke.outputs(invoke(f"{name}:g", arguments=arguments, secrets=secrets)) == {"result": "hunter2hunter2"}
    assert invoke(f"{name}:g", arguments=arguments).error.code == "missing_secret"


def test_an_unknown_module_or_function_is_a_resolution_error(invoke, module):
    name = module("x = 1")
    for target in ("no_such_module_here:f", f"{name}:absent", f"{name}.sub:f", f"{name}:x"):
        outcome = invoke(target)
        assert outcome.error.code == "tool_resolution", target
        assert not outcome.retryable


def test_what_an_import_raises_is_the_tools_failure(invoke, module):
    broken = module("import no_such_dependency_of_it\ndef f(): pass")
    outcome = invoke(f"{broken}:f")
    assert outcome.error.exception == "ModuleNotFoundError"
    assert not outcome.retryable
    flaky = module("raise OSError('disk')")
    outcome = invoke(f"{flaky}:f")
    assert outcome.error.exception == "OSError"
    assert f"{flaky}.py" in outcome.error.traceback
    assert outcome.retryable


def test_a_ray_remote_function_is_called_in_place(invoke, module):
    name = module(
        "import ray\n@ray.remote(num_cpus=2, max_retries=3, retry_exceptions=[ValueError], memory=7, num_gpus=1, max_calls=1, runtime_env={'env_vars': {'A': 'b'}})\n"
        "def f(answer):\n    return {'result': answer, 'ray': ray.get_runtime_context().get_task_id() if ray.is_initialized() else None}\n"
        "@ray.remote\ndef g(): pass\n"
    )
    assert invoke.outputs(invoke(f"{name}:f", {"answer": 42})) == {"result": 42, "ray": None}
    lock = ToolLock(ToolRequest(ToolReference("x", "function", f"{name}:f")), "function", f"{name}:f")
    assert invoke.invoker.describe(lock) == ToolOptions(
        num_cpus=2, num_gpus=1, memory=7, max_retries=3, retry_exceptions=("ValueError",), ignored=("runtime_env",)
    )
    assert invoke.invoker.describe(ToolLock(lock.request, "function", f"{name}:g")) == ToolOptions()


CONTEXT = """
from __future__ import annotations
from shoal.tools import ToolContext, current_context, continuation

def f(n, ctx: ToolContext):
    ctx.progress(1, 4, "one")
    assert current_context() is ctx
    return [ctx.run_id, ctx.step, ctx.attempt, ctx.idempotency_key, ctx.context["user"], ctx.canceled, n]

def optional(ctx: "ToolContext | None" = None):
    return ctx is not None

def stops(ctx: ToolContext):
    ctx.check_canceled()
    return "went on"

async def waits():
    import asyncio
    await asyncio.sleep(60)

def more(n):
    return continuation("pkg.mod:f", {"n": n, "big": "x" * 100_000, "object": {1}, "text": "{{ steps.a }}"}, requirements=["x"])

def workflow():
    return continuation({"id": "w", "steps": [{"name": "a", "tool": "b"}]})

def nested():
    return {"next": continuation("a:b")}
"""


def test_a_tool_gets_its_context_where_it_asks_for_it(invoke, module):
    name = module(CONTEXT)
    outcome = invoke(f"{name}:f", {"n": 5}, context={"user": "ann"}, number=2)
    assert invoke.outputs(outcome)["result"] == ["run-1", "step", 2, "run-1:step", "ann", False, 5]
    assert [(p.done, p.total, p.note) for p in invoke.progress] == [(1, 4, "one")]
    assert invoke.outputs(invoke(f"{name}:optional")) == {"result": True}
    assert "unknown input 'ctx'" in invoke(f"{name}:f", {"n": 1, "ctx": 2}).error.message


def test_a_tool_that_yields_to_a_cancel_is_canceled(invoke, module):
    name = module(CONTEXT)
    assert invoke.outputs(invoke(f"{name}:stops")) == {"result": "went on"}
    invoke.canceled = True
    assert isinstance(invoke(f"{name}:stops").error, RunCanceledError)
    assert isinstance(invoke(f"{name}:waits").error, RunCanceledError)


def test_a_continuation_is_encoded_literally(invoke, module):
    name = module(CONTEXT)
    answer = invoke(f"{name}:more", {"n": 1}).continuation
    assert (answer.target, answer.requirements) == ("pkg.mod:f", ("x",))
    assert answer.inputs.tree == {"n": 1, "big": None, "object": None, "text": "{{ steps.a }}"}
    holes = {path: decode(value, invoke.blobs.get, trusted=True) for path, value in answer.inputs.holes}
    assert holes == {("big",): "x" * 100_000, ("object",): {1}}
    assert invoke(f"{name}:workflow").continuation.target == {"id": "w", "steps": [{"name": "a", "tool": "b"}]}
    assert "continuation" in invoke(f"{name}:nested").error.message


PYDANTIC = """
from pydantic import BaseModel, Field
from typing import Annotated
from shoal.tools import tool

class Request(BaseModel):
    url: str
    depth: int = 1

def by_name(request: Request, n: Annotated[int, Field(gt=0)] = 1): return [type(request).__name__, request.depth, n]
def whole(request: Request): return request.url
def plain(n: int): return n
@tool
def declared(n: int, names: list[str] = []): return n
"""


def test_pydantic_checks_what_it_annotates(invoke, module):
    name = module(PYDANTIC)
    assert invoke.outputs(invoke(f"{name}:by_name", {"request": {"url": "u", "depth": "3"}})) == {"result": ["Request", 3, 1]}
    assert invoke.outputs(invoke(f"{name}:whole", {"url": "u"})) == {"result": "u"}
    assert invoke.outputs(invoke(f"{name}:plain", {"n": "text"})) == {"result": "text"}
    assert invoke.outputs(invoke(f"{name}:declared", {"n": "3"})) == {"result": 3}
    outcome = invoke(f"{name}:by_name", {"request": {"depth": 1}, "n": 0})
    assert "request.url: Field required" in outcome.error.message
    assert "n: Input should be greater than 0" in outcome.error.message
    assert not outcome.retryable
    assert "names.0" in invoke(f"{name}:declared", {"n": 1, "names": [1]}).error.message


def test_an_invoker_travels_as_its_blobs(invoke):
    assert type(pickle.loads(pickle.dumps(invoke.invoker))) is type(invoke.invoker)


def test_importing_the_authors_face_is_light():
    import subprocess

    code = "import sys, shoal.tools, shoal.tools.invoker; print({'ray', 'pydantic', 'httpx', 'sqlalchemy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_a_tool_with_pydantic_1_is_checked_by_its_model(tmp_path):
    """An overlay may bring a pydantic that Shoal itself could not use; only the models of the tool count."""
    import subprocess

    (tmp_path / "pydantic.py").write_text(
        "class BaseModel:\n    @classmethod\n    def parse_obj(cls, data):\n        made = cls()\n        made.data = data\n        return made\n"
    )
    (tmp_path / "old_tool.py").write_text(
        "import pydantic\nfrom shoal.tools import tool\nclass Model(pydantic.BaseModel): pass\n"
        "@tool\ndef f(model: Model, n: int): return [model.data['a'], n]\n"
    )
    code = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parents[2])!r}]
from toolkit import DictBlobs, Invoking
invoke = Invoking(DictBlobs())
print(invoke.outputs(invoke("old_tool:f", {{"model": {{"a": 1}}, "n": "2"}})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'result': [1, '2']}\n"


@pytest.mark.parametrize(
    ("body", "starts"),
    [
        ("def f(): return 1", False),
        ("def g(): return 1\ndef f(): return g.remote()", True),
        ("def h(): return [g.remote() for g in ()]\ndef f(): return h()", True),
        ("class Remote:\n    remote = 1\ndef f(): return Remote", False),
    ],
)
def test_a_tool_that_starts_ray_work_of_its_own_is_known_without_running_it(invoke, tmp_path, monkeypatch, body, starts):
    name = f"starter_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    lock = ToolLock(ToolRequest(ToolReference(f"{name}:f", "function", f"{name}:f")), "function", f"{name}:f")
    assert invoke.invoker.describe(lock).starts_ray_work is starts


def test_an_output_that_cannot_be_recorded_is_named(invoke, module):
    name = module("import threading\ndef f(): return {'fine': 1, 'lock': threading.Lock()}")
    error = invoke(f"{name}:f").error
    assert "output 'lock' cannot be recorded: a value of type _thread.lock" in error.message
    assert "plain data" in error.hint
