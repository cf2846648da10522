"""Tools as a workflow names them."""

from __future__ import annotations

import re
from typing import Final

from shoal.errors import DefinitionError, Problem
from shoal.model.tools import ToolReference

BUILTINS: Final = ("shell", "http", "python")
LITERAL_INPUTS: Final = {"shell": "script", "python": "code"}
"""Inputs that must stand literally in the workflow, because they are run."""

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_DISTRIBUTION = re.compile(rf"({_NAME})(?:@([A-Za-z0-9][A-Za-z0-9.!+_-]*))?\Z")
_DIRECT = re.compile(rf"({_NAME})\s*@\s*((?:file:|git\+)\S+)\Z")
_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\Z", re.ASCII)
_MAX_LENGTH: Final = 500


def parse_tool(text: str) -> ToolReference:
    """Return the tool that a reference names; whether there is one is the resolver's to find out.

    Raises:
        DefinitionError: The text has none of the forms; one problem, without a position.
    """
    text = text.strip()
    if not text or len(text) > _MAX_LENGTH:
        raise _refusal("a tool reference has 1 to 500 characters")
    if text in BUILTINS:
        return ToolReference(text, "builtin", text)
    if match := _DIRECT.match(text):
        return ToolReference(text, "direct", normalize(match[1]), url=match[2])
    if match := _FUNCTION.match(text):
        return ToolReference(text, "function", text)
    if match := _DISTRIBUTION.match(text):
        if match[2]:
            _check_version(match[2])
        return ToolReference(text, "distribution", normalize(match[1]), version=match[2] or "")
    raise _refusal(f"{text[:80]!r} is not a tool reference", _hint(text))


def normalize(name: str) -> str:
    """Return the normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _refusal(message: str, hint: str | None = None) -> DefinitionError:
    return DefinitionError.of([Problem(message, hint=hint)])


def _check_version(version: str) -> None:
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion as error:
        raise _refusal(f"{version[:40]!r} is not a version", "write name@1.2.0; ranges go into `requirements`") from error


def _hint(text: str) -> str:
    if "{{" in text:
        return "a tool stands literally in the workflow; it cannot be computed"
    if "==" in text:
        return f"write {text.replace('==', '@').replace(' ', '')[:80]}"
    if "://" in text:
        return "write name @ git+https://... or name @ file:./path"
    if re.search(r"[<>=~\[]", text):
        return "write name or name@1.2.0; ranges and extras go into `requirements`"
    return "write name, name@1.2.0, name @ file:./path, package.module:function, shell, http or python"


def check_requirement(text: str) -> str | None:
    """Return what is wrong with a requirement (PEP 508), or None."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return str(error).splitlines()[0]
    if requirement.url and not requirement.url.startswith(("file:", "git+", "https://")):
        return "a direct reference is file:, git+ or https://"
    return None
