"""What is looked at before a run's first dispatch."""

from __future__ import annotations

import asyncio
import importlib.metadata

import pytest

from shoal.errors import IndexUnavailableError, MissingSecretError, ShoalError, ToolResolutionError
from shoal.language.loading import load_text
from shoal.model.policies import RunPolicy
from shoal.model.run import RunSpec
from shoal.model.values import Arguments
from shoal.runtime.preparation import check_policy, check_run, pin_tools, read_secrets
from toolkit import request

FLOW = """
id: w
steps:
  - {name: one, tool: some-tool}
  - {name: two, tool: other-tool}
  - {name: three, tool: some-tool}
"""


class Resolving:
    def __init__(self, error: ShoalError):
        self.error = error

    async def resolve(self, requests):
        raise self.error


@pytest.mark.parametrize("kind", [ToolResolutionError, IndexUnavailableError])
def test_a_tool_that_is_not_there_or_out_of_reach_names_its_steps(kind):
    spec = RunSpec(load_text(FLOW), Arguments({}))
    resolver = Resolving(kind("some-tool: why\nother-tool: why not"))
    with pytest.raises(kind) as caught:
        asyncio.run(pin_tools(spec, {}, resolver))
    assert caught.value.message.splitlines() == ["step one, three: some-tool: why", "step two: other-tool: why not"]


def test_steps_of_one_tool_with_other_requirements_are_told_apart():
    text = FLOW.partition("steps:")[0] + (
        "steps:\n"
        "  - {name: ok, tool: 'm:f'}\n"
        "  - {name: old, tool: 'm:f', requirements: ['a==1']}\n"
        "  - {name: clean, tool: 'm:f', isolation: process}\n"
    )
    resolver = Resolving(ToolResolutionError("m:f with a==1: no\nm:f (isolation: process): neither"))
    with pytest.raises(ToolResolutionError) as caught:
        asyncio.run(pin_tools(RunSpec(load_text(text), Arguments({})), {}, resolver))
    assert caught.value.message.splitlines() == [
        "step old: m:f with a==1: no",
        "step clean: m:f (isolation: process): neither",
    ]


STRANGER = RunPolicy(host_tools=False)
HOST_TOOLS = frozenset({"shell"})


def refused(reference, **more):
    try:
        check_policy([request(reference, "function", **more)], STRANGER, HOST_TOOLS)
    except ToolResolutionError as error:
        name, _, why = error.message.partition(": the policy of this run ")
        return name.startswith(reference) and why.startswith("does not allow functions")
    return False


@pytest.mark.parametrize(
    "reference",
    ["subprocess:run", "os:system", "os.path:join", "math:sqrt", "shoal.tools.builtins.shell:shell", "packaging.version:parse"],
)
def test_a_function_of_the_host_is_refused_however_it_is_asked_for(reference, tmp_path):
    for more in ({}, {"requirements": ("six==1.0",)}, {"process": True}, {"base_dir": str(tmp_path)}):
        assert refused(reference, **more)
    check_policy([request(reference, "function")], RunPolicy(), HOST_TOOLS)


def test_what_is_no_function_of_the_host_is_left_to_the_resolver(tmp_path):
    (tmp_path / "zz_beside.py").write_text("def f(): ...")
    assert not refused("zz_beside:f", base_dir=str(tmp_path))
    assert not refused("zz_none:f", requirements=("zz-none==1",))
    (tmp_path / "os.py").write_text("def f(): ...")
    assert refused("os:f", base_dir=str(tmp_path)), "the standard library is never shadowed"
    (tmp_path / "packaging").mkdir()
    assert refused("packaging.version:parse", base_dir=str(tmp_path)), "a folder of that name does not hide the installed one"


def test_a_function_that_is_installed_as_a_tool_is_allowed(monkeypatch):
    points = importlib.metadata.EntryPoints(
        [importlib.metadata.EntryPoint("versions", "packaging.version:parse", "tool.entrypoint")]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: points)
    assert not refused("packaging.version:parse")
    assert refused("packaging.version:Version")


def test_every_refused_step_is_named():
    flow = load_text("id: w\nsteps: [{name: one, tool: 'os:system'}, {name: two, tool: shell, inputs: {script: x}}]")
    with pytest.raises(ToolResolutionError) as caught:
        check_run(RunSpec(flow, Arguments({}), policy=STRANGER), None, HOST_TOOLS)
    assert [line.partition(": the policy")[0] for line in caught.value.message.splitlines()] == [
        "step one: os:system",
        "step two: shell",
    ]


def test_a_missing_secret_says_which_variable_gives_it():
    class Provider:
        def get(self, name):
            return None

    with pytest.raises(MissingSecretError, match=r"no secret 'api-key', 'b'.*set SHOAL_SECRET_API_KEY or"):
        read_secrets(["b", "api-key"], RunPolicy(), Provider())
