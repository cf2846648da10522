"""What is looked at before a run's first dispatch."""

from __future__ import annotations

import asyncio

import pytest

from shoal.errors import IndexUnavailableError, ShoalError, ToolResolutionError
from shoal.language.loading import load_text
from shoal.model.run import RunSpec
from shoal.model.values import Arguments
from shoal.runtime.preparation import pin_tools

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
        asyncio.run(pin_tools(spec, resolver, None, frozenset()))
    assert caught.value.message.splitlines() == ["step one, three: some-tool: why", "step two: other-tool: why not"]
