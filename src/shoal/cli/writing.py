"""The commands for those who write workflows: validate, schema, tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import locking
from shoal.cli.catalog import Command, help_of
from shoal.cli.running import JsonOption
from shoal.cli.terminal import emit, emit_json
from shoal.errors import DefinitionError, NotFoundError, Problem

tools = typer.Typer(name="tools", help="The tools that steps can call.", no_args_is_help=True)


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Workflow files.")],
    as_json: JsonOption = False,
) -> int:
    """Check workflow files.

    All problems of all files are listed at once, each with its place and a hint.

    Loads neither Ray nor the journal, and calls no tool.

    Examples:
        shoal validate workflows/*.yaml
        shoal validate draft.yaml --json | jq '.error.problems[]'
    """
    from shoal.language.finding import workflow_folders
    from shoal.language.loading import load_file

    folders = workflow_folders()
    problems: list[Problem] = []
    good: list[dict[str, Any]] = []
    for path in map(Path, files):
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        try:
            workflow = load_file(path, workflows=folders)
        except DefinitionError as error:
            problems.extend(error.problems or (Problem(error.message, file=str(path)),))
        else:
            steps = len(workflow.steps) + len(workflow.finally_steps)
            good.append({"file": str(path), "workflow": workflow.id, "steps": steps})
    if problems:
        raise DefinitionError.of(problems)
    if as_json:
        emit_json({"valid": True, "files": good})
        return 0
    for entry in good:
        count = entry["steps"]
        emit(f"{entry['file']}: ok ({entry['workflow']}, {count} {'step' if count == 1 else 'steps'})")
    return 0


def schema() -> int:
    """Print the JSON Schema of the workflow language, for editors.

    A comment `# yaml-language-server: $schema=workflow.schema.json` in a workflow turns it on.

    Example:
        shoal schema > workflow.schema.json
    """
    from shoal.language.schema import schema as language_schema

    emit_json(language_schema())
    return 0


@tools.callback()
def _tools() -> None:
    """The tools that steps can call."""


def list_tools(as_json: JsonOption = False) -> int:
    """List the tools of this environment: built-in, and of installed distributions.

    Others are installed on demand: a step can name any distribution of the package index.

    Example:
        shoal tools list --json
    """
    from shoal.cli.toolbox import installed_tools, print_tools

    found = installed_tools()
    if as_json:
        emit_json({"tools": found})
        return 0
    print_tools(found)
    return 0


for _name, _command in (("list", list_tools), ("lock", locking.lock), ("envs", locking.envs)):
    tools.command(_name, cls=Command, help=help_of(_command))(_command)
