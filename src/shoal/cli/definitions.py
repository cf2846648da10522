"""Workflows as the command line names them: a file, or the id of one.

Owns the search for ids and the reading of inputs from `-i` and `--inputs`. The language itself is `shoal.language`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from shoal.errors import InvalidInputError, NotFoundError
from shoal.model.values import Json
from shoal.model.workflow import Workflow

_SUFFIXES = (".yaml", ".yml")
_INPUTS_LIMIT = 10 * 1024 * 1024
_NODE_LIMIT = 1_000_000
_MOST_NAMES = 10


def is_file_name(text: str) -> bool:
    """Return whether an argument names a file: by its ending, a separator in it, or because there is such a file."""
    return text.endswith(_SUFFIXES) or "/" in text or Path(text).is_file()


def find_workflow(text: str) -> Workflow:
    """Return the workflow that `FILE|ID` names.

    An id is looked for in `./workflows` and then in the `workflows` folders of installed agents; the first that has it wins.

    Raises:
        NotFoundError: There is no such file or id.
        DefinitionError: The definition is wrong.
    """
    if is_file_name(text):
        return load(Path(text))
    from shoal.language.loading import index_folders

    known = index_folders(workflow_folders())
    if text in known:
        return load(known[text])
    names = ", ".join(sorted(known)[:_MOST_NAMES]) or "none"
    raise NotFoundError(
        f"there is no file and no workflow {text!r}",
        hint=f"workflows found in ./workflows and installed agents: {names}",
    )


def load(path: Path) -> Workflow:
    """Return the workflow of a file; the sub-workflows that it names by id are looked up in the usual folders.

    Raises:
        NotFoundError: There is no such file.
        DefinitionError: The definition is wrong.
    """
    from shoal.language.loading import load_file

    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", hint="give the path of a workflow file, or a workflow's id")
    return load_file(path, workflows=workflow_folders())


def workflow_folders() -> list[Path]:
    """Return the folders in which ids are looked up: `./workflows`, then those of installed agents."""
    return [folder for folder in (Path("workflows"), *_agent_folders()) if folder.is_dir()]


def _agent_folders() -> Iterator[Path]:
    from importlib.metadata import entry_points

    for entry in entry_points(group="agent.entrypoint"):
        # The spec of a top-level package is found without running any of its code.
        spec = importlib.util.find_spec(entry.module.partition(".")[0])
        for location in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(location) / "workflows"


def read_inputs(workflow: Workflow, assignments: Sequence[str], file: str | None) -> dict[str, Json]:
    """Return the inputs that `-i` and `--inputs` give, checked and with defaults filled in; `-i` wins over the file.

    Raises:
        InvalidInputError: An input is unknown, missing or of the wrong type, or the file is not a mapping.
        NotFoundError: There is no such file.
    """
    from shoal.language.inputs import check_inputs, parse_assignment

    inputs: dict[str, Json] = dict(_inputs_of_file(file)) if file else {}
    for text in assignments:
        name, value = parse_assignment(workflow, text)
        inputs[name] = value
    return check_inputs(workflow, inputs)


def _inputs_of_file(name: str) -> Mapping[str, Json]:
    text = _text_of(name)
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = _yaml(name, text)
    _check_json(name, found)
    if not isinstance(found, dict):
        raise InvalidInputError(f"{name}: inputs are a mapping of names to values, and this is a {type(found).__name__}")
    return cast("dict[str, Json]", found)


def _text_of(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_INPUTS_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_INPUTS_LIMIT + 1)
    except OSError as error:
        raise NotFoundError(f"the inputs {name} cannot be read: {error.strerror}") from error
    if len(data) > _INPUTS_LIMIT:
        raise InvalidInputError(f"{name}: inputs of more than 10 MiB", hint="give large data as a file that a tool reads")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name}: inputs are UTF-8 text; byte {error.start} is not") from error


def _yaml(name: str, text: str) -> Any:
    from ruamel.yaml import YAML, constructor
    from ruamel.yaml.error import YAMLError

    # As in a workflow, what looks like a date is a string. (The package has no types.)
    safe: Any = constructor.SafeConstructor
    plain: Any = type("PlainConstructor", (safe,), {})
    plain.add_constructor("tag:yaml.org,2002:timestamp", safe.construct_yaml_str)
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Constructor = plain
    try:
        return yaml.load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        first = " ".join(str(error).split())[:300] or "nested too deeply"
        raise InvalidInputError(f"{name}: neither JSON nor YAML: {first}") from error


def _check_json(name: str, root: object) -> None:
    """Refuse what JSON has not (dates, keys that are no strings), and what aliases blow up to more than a million nodes."""
    count = 0
    stack: list[object] = [root]
    while stack:
        value = stack.pop()
        count += 1
        if count > _NODE_LIMIT:
            raise InvalidInputError(f"{name}: more than {_NODE_LIMIT:,} values")
        if isinstance(value, dict):
            for key, member in cast("dict[object, object]", value).items():
                if not isinstance(key, str):
                    raise InvalidInputError(f"{name}: the key {key!r} is no string", hint="put it in quotes")
                stack.append(member)
        elif isinstance(value, list):
            stack.extend(cast("list[object]", value))
        elif value is not None and not isinstance(value, (bool, int, float, str)):
            raise InvalidInputError(f"{name}: {value!s} is a {type(value).__name__}, no JSON", hint="put it in quotes")
