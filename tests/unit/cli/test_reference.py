"""The reference pages tell what the code does."""

import importlib
import inspect
import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
import typer
from test_view import RUN_SCHEMA

from shoal.cli.app import app
from shoal.cli.catalog import NOT_YET, NOT_YET_OF
from shoal.errors import error_from_json, registered_errors

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
COMMAND_LINE = (REFERENCE / "command-line.md").read_text()
ERRORS = (REFERENCE / "errors.md").read_text()


@pytest.mark.parametrize("module", ["shoal.errors", "shoal.workflow.exceptions"])
def test_every_error_is_listed_as_it_is(module):
    importlib.import_module(module)
    table = ERRORS.partition(f"class in `{module}`")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if re.match(r"\| `\w+` \| `\w+Error` \|", line)]
    assert rows == [
        f"| `{code}` | `{cls.__name__}` | {cls.exit_status} | {cls.http_status} | {'yes' if cls.retryable else 'no'} "
        f"| {inspect.cleandoc(cls.__doc__).splitlines()[0]} |"
        for code, cls in registered_errors().items()
        if cls.__module__ == module
    ]


def test_the_examples_of_errors_are_errors():
    blocks = re.findall(r"```json\n(.*?)```", ERRORS, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        data = json.loads(block)["error"]
        assert error_from_json(data).to_json() == data


def test_the_example_of_a_run_has_the_schema_of_a_run():
    (block,) = re.findall(r"```json run\n(.*?)```", COMMAND_LINE, flags=re.DOTALL)
    jsonschema.validate(json.loads(block), RUN_SCHEMA)


def parsed(line):
    """The command that a line names, once its arguments have been read."""
    group = typer.main.get_command(app)
    words = shlex.split(line)
    assert words[0] == "shoal"
    command = group.commands[words[1]]
    rest = words[2:]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    with command.make_context(line, rest):
        return command


EXAMPLES = [line for block in re.findall(r"```console\n(.*?)```", COMMAND_LINE, flags=re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_can_be_read(line):
    assert parsed(line)


def commands():
    groups = typer.main.get_command(app).commands.items()
    return [(f"{name} {sub}", c) for name, top in groups for sub, c in getattr(top, "commands", {"": top}).items()]


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_and_option_is_explained(name, command):
    assert re.search(rf"^### .*`shoal {name.strip()}\b", COMMAND_LINE, flags=re.MULTILINE)
    section = re.split(rf"^### .*`shoal {name.strip()}\b", COMMAND_LINE, flags=re.MULTILINE)[1].split("\n### ")[0]
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name not in ("help", "as_json"):
            assert any(option in section for option in parameter.opts), parameter.name


def test_the_help_of_every_command_has_examples_that_can_be_read():
    count = 0
    for _, command in commands():
        for line in command.help.splitlines():
            if line.startswith("    shoal "):
                text = re.split(r" [|>] | && |\s{3,}\(", line.strip())[0]
                assert parsed(text)
                count += 1
    assert count > 20


def test_what_is_to_come_is_named():
    section = COMMAND_LINE.split("## Not in this version")[1]
    for name in NOT_YET | {f"tools {sub}" for sub in NOT_YET_OF["tools"]}:
        assert f"`{name}`" in section
