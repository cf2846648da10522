"""The errors of Shoal: one tree, each with a stable code, that pickle and round-trip through JSON.

Owns the hierarchy, its wire form and the exit status and HTTP status of each error. Must not import anything of Shoal.
The wire form is described in ADR 0007.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

_REGISTRY: dict[str, type[ShoalError]] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition, and where.

    Attributes:
        message: What is wrong.
        file: The file as the caller named it; empty for a definition that came from no file.
        line: Line, counted from 1; 0 where no position is known.
        column: Column, counted from 1; 0 where no position is known.
        hint: What to do about it.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str | None = None

    def __str__(self) -> str:
        """Return the problem as `file:line:column: message (hint)`."""
        where = f"{self.file or '<workflow>'}:{self.line}:{self.column}: " if self.file or self.line else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(eq=False, repr=False)
class ShoalError(Exception):
    """Base of every error that Shoal raises.

    Every subclass has a stable `code`, keyword-only fields of JSON types, and the flag `retryable`: whether the same call
    may succeed later with nothing changed. Pickles, and round-trips through `to_json` and `error_from_json`.

    Attributes:
        message: What happened, where, and what to do next.
        hint: What to do next, when it is worth a line of its own.
    """

    code: ClassVar[str] = "shoal"
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    message: str
    hint: str | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Register a subclass that has a code of its own; one without, as a tool's author may write, goes by its base's."""
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            return
        if _REGISTRY.setdefault(cls.code, cls).__qualname__ != cls.__qualname__:
            raise TypeError(f"error code {cls.code!r} is taken by {_REGISTRY[cls.code].__name__}")
        _REGISTRY[cls.code] = cls

    def __post_init__(self) -> None:
        """Give `Exception` its message."""
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return the message, and the hint after it."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __repr__(self) -> str:
        """Return the class and the message."""
        return f"{type(self).__name__}({self.message!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the wire form, so that a field added later does not break an old pickle."""
        return (error_from_json, (self.to_json(),))

    def to_json(self) -> dict[str, Any]:
        """Return the wire form: `{code, message, hint?, ...fields}`, of JSON types only."""
        data: dict[str, Any] = {"code": self.code}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None and f.name != "message":
                continue
            data[f.name] = _plain(value)
        return data


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[object, object]", value).items()}
    return value


def error_from_json(data: Mapping[str, Any]) -> ShoalError:
    """Return the error that `to_json` described.

    An unknown code, as a newer version may send, becomes an `InternalError` that keeps code and message. Unknown fields
    are dropped.
    """
    cls = _REGISTRY.get(str(data.get("code")))
    if cls is None:
        return InternalError(f"{data.get('code')}: {data.get('message', '')}")
    names = {f.name for f in dataclasses.fields(cls)}
    fields = {k: v for k, v in data.items() if k in names}
    fields.setdefault("message", "")
    if "problems" in fields:
        fields["problems"] = tuple(Problem(**p) for p in fields["problems"])
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(cast("list[object]", value))
    return cls(**fields)


def registered_errors() -> dict[str, type[ShoalError]]:
    """Return every error class by its code."""
    return dict(_REGISTRY)


# ---------------------------------------------------------------- definitions and input


@dataclass(eq=False, repr=False)
class DefinitionError(ShoalError):
    """A workflow definition is wrong; all of its problems are listed at once, in the order of the file."""

    code: ClassVar[str] = "definition"
    exit_status: ClassVar[int] = 2
    http_status: ClassVar[int] = 422
    problems: tuple[Problem, ...] = field(default=(), kw_only=True)

    @classmethod
    def of(cls, problems: tuple[Problem, ...] | list[Problem]) -> DefinitionError:
        """Return one error for a list of problems."""
        ordered = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        return cls("\n".join(str(p) for p in ordered), problems=ordered)


@dataclass(eq=False, repr=False)
class InvalidInputError(DefinitionError):
    """The inputs of a run do not fit what its workflow declares."""

    code: ClassVar[str] = "invalid_input"


@dataclass(eq=False, repr=False)
class ExpressionError(ShoalError):
    """An expression could not be evaluated on the values it met."""

    code: ClassVar[str] = "expression"
    expression: str = field(default="", kw_only=True)


@dataclass(eq=False, repr=False)
class UnsupportedError(ShoalError):
    """Something that the language or the command line names, and this version does not have."""

    code: ClassVar[str] = "unsupported"
    exit_status: ClassVar[int] = 2
    http_status: ClassVar[int] = 501


# ---------------------------------------------------------------- runs and steps


@dataclass(eq=False, repr=False)
class RunError(ShoalError):
    """A run or a step of it did not end well."""

    code: ClassVar[str] = "run"
    run_id: str | None = field(default=None, kw_only=True)
    step: str | None = field(default=None, kw_only=True)


@dataclass(eq=False, repr=False)
class StepFailedError(RunError):
    """A tool raised, or returned what it did not declare.

    Attributes:
        exception: The qualified name of the tool's exception.
        traceback: The tool's own traceback, without frames of Shoal.
    """

    code: ClassVar[str] = "step_failed"
    exception: str | None = field(default=None, kw_only=True)
    traceback: str | None = field(default=None, kw_only=True)


@dataclass(eq=False, repr=False)
class StepTimeoutError(RunError):
    """An attempt outran its `timeout`, a step its `deadline`, or a run its `timeout`."""

    code: ClassVar[str] = "timeout"


@dataclass(eq=False, repr=False)
class WorkerLostError(RunError):
    """The process or node that ran an attempt died."""

    code: ClassVar[str] = "worker_lost"


@dataclass(eq=False, repr=False)
class OutOfMemoryError(RunError):
    """An attempt outgrew its `resources.memory`, or the node ran out of memory."""

    code: ClassVar[str] = "out_of_memory"


@dataclass(eq=False, repr=False)
class ToolResolutionError(RunError):
    """A tool cannot be had: on no index, no such version, conflicting requirements, or no such function."""

    code: ClassVar[str] = "tool_resolution"


@dataclass(eq=False, repr=False)
class EnvironmentBuildError(RunError):
    """An environment that resolved could not be built or launched."""

    code: ClassVar[str] = "environment_build"


@dataclass(eq=False, repr=False)
class MissingSecretError(RunError):
    """A secret that a workflow names is not provided."""

    code: ClassVar[str] = "missing_secret"


@dataclass(eq=False, repr=False)
class PoisonStepError(RunError):
    """A step was running each time its owner died, three times in a row."""

    code: ClassVar[str] = "poison_step"


@dataclass(eq=False, repr=False)
class RunCanceledError(RunError):
    """The run was canceled."""

    code: ClassVar[str] = "canceled"
    http_status: ClassVar[int] = 409


@dataclass(eq=False, repr=False)
class AttemptInterruptedError(RunError):
    """An attempt was ended because its owner stopped; it spends no retry."""

    code: ClassVar[str] = "interrupted"


@dataclass(eq=False, repr=False)
class ToolChangedError(RunError):
    """A tool taken from the base environment is no longer the one that the run is pinned to."""

    code: ClassVar[str] = "tool_changed"


@dataclass(eq=False, repr=False)
class TaskCodeChangedError(ToolChangedError):
    """A Python task is no longer the one that the run was started with, or needs another version of Python."""

    code: ClassVar[str] = "task_code_changed"


@dataclass(eq=False, repr=False)
class NonRetryableError(ShoalError):
    """For tools to raise: the step fails at once, whatever its retry policy."""

    code: ClassVar[str] = "non_retryable"


# ---------------------------------------------------------------- conflicts, look-ups


@dataclass(eq=False, repr=False)
class ConflictError(ShoalError):
    """The request does not fit the present state."""

    code: ClassVar[str] = "conflict"
    exit_status: ClassVar[int] = 4
    http_status: ClassVar[int] = 409


@dataclass(eq=False, repr=False)
class RunAlreadyExistsError(ConflictError):
    """A run of this id exists with another workflow or other inputs."""

    code: ClassVar[str] = "run_exists"


@dataclass(eq=False, repr=False)
class LeaseLostError(ConflictError):
    """Another owner holds the lease of the run, or has held it since."""

    code: ClassVar[str] = "lease_lost"


@dataclass(eq=False, repr=False)
class NotFoundError(ShoalError):
    """There is no such run, step, workflow or file."""

    code: ClassVar[str] = "not_found"
    exit_status: ClassVar[int] = 2
    http_status: ClassVar[int] = 404


# ---------------------------------------------------------------- infrastructure


@dataclass(eq=False, repr=False)
class InfrastructureError(ShoalError):
    """Something Shoal stands on is unavailable; a run that was under way is resumable."""

    code: ClassVar[str] = "infrastructure"
    retryable: ClassVar[bool] = True
    exit_status: ClassVar[int] = 3
    http_status: ClassVar[int] = 503


@dataclass(eq=False, repr=False)
class StoreUnavailableError(InfrastructureError):
    """The journal cannot be opened, read or written."""

    code: ClassVar[str] = "store_unavailable"


@dataclass(eq=False, repr=False)
class RayUnavailableError(InfrastructureError):
    """Ray could not be started or reached."""

    code: ClassVar[str] = "ray_unavailable"


@dataclass(eq=False, repr=False)
class IndexUnavailableError(InfrastructureError):
    """The package index could not be reached."""

    code: ClassVar[str] = "index_unavailable"


@dataclass(eq=False, repr=False)
class HandoffError(ShoalError):
    """Another agent did not take the work, or could not be reached."""

    code: ClassVar[str] = "handoff"
    http_status: ClassVar[int] = 502


@dataclass(eq=False, repr=False)
class InternalError(ShoalError):
    """A defect of Shoal."""

    code: ClassVar[str] = "internal"
