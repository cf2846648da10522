"""The command line over a fake client; definitions from the real language."""

import json
import sys
from pathlib import Path

import pytest
from cli_world import World, install, workflow

from shoal.cli import definitions, main
from shoal.errors import DefinitionError, InvalidInputError, Problem
from shoal.model.workflow import InputSpec

ANSWER = """\
id: answer
inputs:
  - {name: question, type: string, default: "six by nine"}
  - {name: count, type: integer, default: 1}
steps:
  - name: answer
    tool: return_answer_tool@0.1.2
    inputs:
      - {name: answer, value: "{{inputs.question}}"}
outputs:
  - {name: answer, value: "{{steps.answer.outputs.result}}"}
"""


@pytest.fixture
def world(monkeypatch):
    for name in list(sys.modules):
        if name == "shoal.client" or name.startswith("shoal.client."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "shoal.client", None)
    return install(World())


@pytest.fixture
def answer_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "answer.yaml"
    path.write_text(ANSWER)
    return path


@pytest.fixture
def shoal(capfd):
    """Carry out a command line: its status, what it wrote to stdout and to stderr."""

    def call(*args):
        status = main([str(a) for a in args])
        out, err = capfd.readouterr()
        return status, out, err

    return call


class FakeLanguage:
    """Stands in for the language until it is there."""

    def load_file(self, path):
        text = Path(path).read_text()
        if "tool:" not in text:
            raise DefinitionError.of([Problem("unknown key 'tol'", str(path), 6, 5, "did you mean 'tool'?")])
        name = text.split("id: ")[1].split("\n")[0]
        return workflow(
            id=name,
            inputs=(
                InputSpec("question", {"type": "string"}, False, "six by nine"),
                InputSpec("count", {"type": "integer"}, False, 1),
            ),
        )

    def parse_assignment(self, flow, text):
        name, _, value = text.partition("=")
        spec = next((i for i in flow.inputs if i.name == name), None)
        if spec is None:
            raise InvalidInputError(f"unknown input {name!r}", hint="this workflow has: question, count")
        if spec.schema.get("type") == "string":
            return name, value
        try:
            return name, json.loads(value)
        except ValueError:
            return name, value

    def check_inputs(self, flow, inputs):
        if not isinstance(inputs.get("count", 1), int):
            raise InvalidInputError("input 'count': not an integer")
        return inputs

    def schema(self):
        return {"$schema": "x"}


@pytest.fixture(autouse=True)
def _language(monkeypatch):
    monkeypatch.setattr(definitions, "language", FakeLanguage)
