"""Workflows as the command line names them: a file, or the id of one.

Owns the search for ids and the reading of inputs from `-i` and `--inputs`. The language itself is `shoal.language`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from shoal.errors import InvalidInputError, NotFoundError, ShoalError
from shoal.model.ids import WORKFLOW_ID
from shoal.model.values import Json
from shoal.model.workflow import Workflow

_SUFFIXES = (".yaml", ".yml")
_INPUTS_LIMIT = 10 * 1024 * 1024
_NODE_LIMIT = 1_000_000


class Language(Protocol):
    """What the command line uses of the language."""

    def load_file(self, path: Path) -> Workflow:
        """Return the workflow of a file. Raises `DefinitionError`."""
        ...

    def parse_assignment(self, workflow: Workflow, text: str) -> tuple[str, Json]:
        """Return name and value of `NAME=VALUE`. Raises `InvalidInputError`."""
        ...

    def check_inputs(self, workflow: Workflow, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """Return the inputs with defaults filled in. Raises `InvalidInputError`."""
        ...

    def schema(self) -> dict[str, Json]:
        """Return the JSON Schema of the language."""
        ...


def language() -> Language:
    """Return the language; it is loaded late, for a command such as `runs` needs none of it."""
    return cast("Language", cast("object", importlib.import_module("shoal.language")))


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
        path = Path(text)
        if not path.is_file():
            raise NotFoundError(f"there is no file {text}", hint="give the path of a workflow file, or a workflow's id")
        return language().load_file(path)
    if WORKFLOW_ID.match(text):
        for path in workflow_files():
            if path.stem == text or _mentions_id(path, text):
                workflow = _load_quietly(path, strict=path.stem == text)
                if workflow is not None and workflow.id == text:
                    return workflow
    raise NotFoundError(
        f"there is no workflow {text!r} in ./workflows or in an installed agent", hint="or give the path of its file"
    )


def workflow_files() -> Iterator[Path]:
    """Yield the workflow files of `./workflows` and of installed agents, in a stable order."""
    for folder in [Path("workflows"), *_agent_folders()]:
        yield from sorted(p for p in folder.rglob("*") if p.suffix in _SUFFIXES and p.is_file())


def _agent_folders() -> Iterator[Path]:
    from importlib.metadata import entry_points

    for entry in entry_points(group="agent.entrypoint"):
        # The spec of a top-level package is found without running any of its code.
        spec = importlib.util.find_spec(entry.module.partition(".")[0])
        for location in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(location) / "workflows"


def _mentions_id(path: Path, workflow_id: str) -> bool:
    try:
        with path.open("rb") as file:
            return workflow_id.encode() in file.read(_NODE_LIMIT)
    except OSError:
        return False


def _load_quietly(path: Path, *, strict: bool) -> Workflow | None:
    try:
        return language().load_file(path)
    except ShoalError:
        if strict:
            raise
        return None


def read_inputs(workflow: Workflow, assignments: Sequence[str], file: str | None) -> dict[str, Json]:
    """Return the inputs that `-i` and `--inputs` give, checked; `-i` wins over the file.

    Raises:
        InvalidInputError: An input is unknown, missing or of the wrong type, or the file is not a mapping.
        NotFoundError: There is no such file.
    """
    inputs: dict[str, Json] = dict(_inputs_of_file(file)) if file else {}
    for text in assignments:
        name, value = language().parse_assignment(workflow, text)
        inputs[name] = value
    language().check_inputs(workflow, inputs)
    return inputs


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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
    except (YAMLError, RecursionError, ValueError) as error:
        first = str(error).strip().replace("\n", " ") or "nested too deeply"
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
