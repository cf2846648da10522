"""Tools that are `@ray.remote` functions: the function inside, and the options its author set.

Never imports Ray: a process that holds such a tool has loaded it already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import CodeType, FunctionType
from typing import Any, Final, cast

from shoal.errors import ToolResolutionError
from shoal.model.tools import ToolOptions
from shoal.tools.failure import qualified_name

_READ: Final = ("num_cpus", "num_gpus", "memory", "resources", "max_retries", "retry_exceptions")


def unwrap(found: object, name: str) -> Callable[..., Any]:
    """Return the plain callable that a tool is, or that is inside a `@ray.remote` function.

    Raises:
        ToolResolutionError: It is an actor class, a `.options(...)` wrapper, or nothing that can be called.
    """
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    if kind == "ray.remote_function.RemoteFunction":
        return cast("Any", found)._function  # noqa: SLF001 - Ray has no public way to it; a test guards it
    if kind.startswith("ray.remote_function."):
        raise ToolResolutionError(
            f"tool {name} is what `.options(...)` returned", hint="set the options in `@ray.remote(...)` or in the step"
        )
    if kind.startswith("ray.actor."):
        raise ToolResolutionError(f"tool {name} is a Ray actor class; a tool is a function")
    if not callable(found):
        raise ToolResolutionError(f"tool {name} is a {type(found).__name__}; a tool is a function")
    return found


def options_of(found: object, function: Callable[..., Any]) -> ToolOptions:
    """Return the explicit options of a `@ray.remote` function, and of any tool whether it starts Ray work of its own.

    Args:
        found: The tool as its author wrote it.
        function: The function in it.
    """
    return replace(_explicit(found), starts_ray_work=_starts_ray_work(function))


def _explicit(found: object) -> ToolOptions:
    if type(found).__module__ != "ray.remote_function":
        return ToolOptions()
    given = dict(cast("Mapping[str, Any]", getattr(found, "_default_options", {})))
    if given.get("num_gpus"):
        given.pop("max_calls", None)  # Ray sets it by itself then; its author did not
    resources = cast("Mapping[str, float]", given.get("resources") or {})
    return ToolOptions(
        num_cpus=given.get("num_cpus"),
        num_gpus=given.get("num_gpus"),
        memory=None if given.get("memory") is None else int(given["memory"]),
        resources=tuple(sorted(resources.items())),
        max_retries=given.get("max_retries"),
        retry_exceptions=_retried(given.get("retry_exceptions")),
        ignored=tuple(sorted(k for k, v in given.items() if k not in _READ and v is not None)),
    )


def _retried(value: object) -> bool | tuple[str, ...] | None:
    if value is None or isinstance(value, bool):
        return value
    return tuple(qualified_name(e) for e in cast("list[type[BaseException]]", value))


def _starts_ray_work(function: Callable[..., Any]) -> bool:
    """Whether a function, or one of its module, has a call of `.remote`: known by the names in its code, nothing is run.

    Such a tool may wait for work that needs the CPUs which warm workers hold for good; a task gives its own back meanwhile.
    """
    if not isinstance(function, FunctionType):
        return False
    own = function.__module__
    values = (getattr(v, "_function", v) for v in tuple(function.__globals__.values()))
    beside = (v for v in values if isinstance(v, FunctionType) and v.__module__ == own)
    return any("remote" in code.co_names for f in (function, *beside) for code in _codes(f.__code__))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
