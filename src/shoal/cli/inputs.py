"""The inputs of a run as the command line gives them: `-i` and `--inputs`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from shoal.errors import InvalidInputError, NotFoundError, Problem
from shoal.language.inputs import check_inputs, parse_assignment
from shoal.language.json_text import RepeatedKeyError, parse_json
from shoal.model.values import Json
from shoal.model.workflow import Workflow

_INPUTS_LIMIT = 10 * 1024 * 1024
_NODE_LIMIT = 1_000_000


def read_inputs(workflow: Workflow, assignments: Sequence[str], file: str | None) -> dict[str, Json]:
    """Return the inputs that `-i` and `--inputs` give, checked and with defaults filled in; `-i` wins over the file.

    Raises:
        InvalidInputError: An input is unknown, missing or of the wrong type, or the file is not a mapping.
        NotFoundError: There is no such file.
    """
    inputs: dict[str, Json] = dict(_inputs_of_file(file)) if file else {}
    problems: list[Problem] = []
    refused: set[str] = set()
    for text in assignments:
        try:
            name, value = parse_assignment(workflow, text)
            inputs[name] = value
        except InvalidInputError as error:
            problems.extend(error.problems)
            refused.add(text.partition("=")[0].strip())
    try:
        checked = check_inputs(workflow, inputs)
    except InvalidInputError as error:
        given = {f"input {name!r} is missing" for name in refused}  # it is not missing, it is wrong
        problems.extend(problem for problem in error.problems if problem.message not in given)
        checked = inputs
    if problems:
        raise InvalidInputError("\n".join(str(p) for p in problems), problems=tuple(problems))
    return checked


def _inputs_of_file(name: str) -> Mapping[str, Json]:
    text = _text_of(name)
    try:
        found: Any = parse_json(text, constants=True)
    except RepeatedKeyError as error:
        raise InvalidInputError(f"{name}: {error}", hint="keep one of the two") from error
    except (ValueError, RecursionError):
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
