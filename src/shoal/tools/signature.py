"""A tool's signature: which inputs it takes, which of them pydantic checks, and where it wants its context.

Owns the check of inputs. pydantic is loaded only for a declared tool, or when the tool's own annotations have loaded it.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from shoal.errors import StepFailedError
from shoal.tools.context import ToolContext
from shoal.tools.declaration import declaration_of

_VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a callable takes.

    Attributes:
        names: The inputs in the order of the signature, the context left out.
        required: Those without a default.
        positional: Those that Python takes by position only.
        open: Whether it takes any further input (`**kwargs`), or cannot be inspected at all.
        context: The parameter that wants the `ToolContext`.
        model: The one parameter that is a pydantic model whose fields are the inputs, if none is named like it.
        checks: What turns a raw input into a checked one, by input.
    """

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    open: bool = False
    context: str | None = None
    model: str | None = None
    checks: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict[str, Callable[[Any], Any]])

    def bind(self, inputs: Mapping[str, Any], context: ToolContext) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments for a call, checked.

        Raises:
            StepFailedError: An input is unknown, missing or does not pass its check; all of them are named.
        """
        given: dict[str, Any] = dict(inputs)
        if self.model is not None and self.model not in given:
            given = {self.model: given}
        problems = self._misnamed(given)
        if not problems:
            for name, check in self.checks.items():
                if name in given:
                    try:
                        given[name] = check(given[name])
                    except Exception as error:  # noqa: BLE001 - a validator of the tool's author may raise anything
                        problems.append(_checked(name, error))
        if problems:
            raise StepFailedError("; ".join(problems), hint="see the step's `inputs`")
        if self.context is not None:
            given[self.context] = context
        positional = [given.pop(name) for name in self.positional if name in given]
        return positional, given

    def _misnamed(self, given: Mapping[str, Any]) -> list[str]:
        problems: list[str] = []
        takes = ", ".join(self.names) or "none"
        if not self.open:
            unknown = [name for name in given if name not in self.names]
            if unknown:
                problems.append(f"unknown input {', '.join(map(repr, unknown))}; the tool takes {takes}")
        elif self.context is not None and self.context in given:
            problems.append(f"input {self.context!r} is the tool's own context and cannot be given")
        last = max((i for i, name in enumerate(self.positional) if name in given), default=-1)
        before = self.positional[:last]  # Python takes these by position: none before one that is given can be left out
        missing = [name for name in self.names if name not in given and (name in self.required or name in before)]
        if missing:
            problems.append(f"missing input {', '.join(map(repr, missing))}; the tool takes {takes}")
        return problems


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return what a callable takes; one that cannot be inspected takes anything."""
    try:
        found = inspect.signature(function)
    except (ValueError, TypeError):
        return Signature(open=True)
    hints = hints_of(function)
    context: str | None = None
    parameters: list[inspect.Parameter] = []
    for parameter in found.parameters.values():
        annotation = hints.get(parameter.name, parameter.annotation)
        if parameter.kind not in _VARIADIC and context is None and _wants_context(annotation):
            context = parameter.name
        else:
            parameters.append(parameter)
    plain = [p for p in parameters if p.kind not in _VARIADIC]
    declared = declaration_of(function) is not None
    checks = {p.name: check for p in plain if (check := _check(hints.get(p.name, p.annotation), declared=declared))}
    sole = plain[0] if len(plain) == 1 and len(parameters) == 1 else None
    return Signature(
        names=tuple(p.name for p in plain),
        required=tuple(p.name for p in plain if p.default is inspect.Parameter.empty),
        positional=tuple(p.name for p in found.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_ONLY),
        open=any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
        context=context,
        model=sole.name if sole is not None and _is_model(hints.get(sole.name, sole.annotation)) else None,
        checks=checks,
    )


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable, evaluated where that is possible (some names may exist for checkers only)."""
    target = inspect.unwrap(function)
    if not inspect.isroutine(target):
        target = target.__init__ if inspect.isclass(target) else type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001, S110 - an annotation is any expression of the author's; each is tried alone below
        pass
    out: dict[str, Any] = {}
    space = getattr(target, "__globals__", {})
    for name, annotation in getattr(target, "__annotations__", {}).items():
        try:
            out[name] = eval(annotation, space) if isinstance(annotation, str) else annotation  # noqa: S307 - the tool's own code
        except Exception:  # noqa: BLE001
            out[name] = annotation
    return out


def _wants_context(annotation: object) -> bool:
    if isinstance(annotation, str):
        names = [part.strip().rpartition(".")[2] for part in annotation.split("|")]
        return "ToolContext" in names
    return annotation is ToolContext or ToolContext in typing.get_args(annotation)


def _is_model(annotation: object) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _uses_pydantic(annotation: object) -> bool:
    if _is_model(annotation):
        return True
    origin = typing.get_origin(annotation)
    parts = cast("tuple[object, ...]", typing.get_args(annotation))
    if origin is typing.Annotated and any(
        type(p).__module__.partition(".")[0] in ("pydantic", "annotated_types") for p in parts[1:]
    ):
        return True
    return any(_uses_pydantic(p) for p in parts if p is not annotation)


def _check(annotation: object, *, declared: bool) -> Callable[[Any], Any] | None:
    if annotation is inspect.Parameter.empty or annotation is Any or isinstance(annotation, str):
        return None
    if not declared and not _uses_pydantic(annotation):
        return None
    try:
        from shoal.tools.schema import checker
    except ImportError:  # the tool's environment has no pydantic 2: a model of pydantic 1 checks by itself
        return cast("Any", annotation).parse_obj if _is_model(annotation) else None
    return checker(annotation)


def _checked(name: str, error: Exception) -> str:
    """Say in a line what a check found; the value itself is left out, for it may be large or secret."""
    details = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(details):
        found = cast("list[dict[str, Any]]", details(include_url=False, include_context=False, include_input=False))
        lines = [f"{'.'.join(map(str, (name, *e['loc'])))}: {e['msg']}" for e in found]
        return "input " + "; ".join(lines)
    try:
        return f"input {name}: {error}"
    except Exception:  # noqa: BLE001 - its __str__ is the author's
        return f"input {name}: {type(error).__name__}"
