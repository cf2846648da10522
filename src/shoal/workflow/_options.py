"""Options of a task: how they travel with a DAG node, and what they mean to its step.

Owns the carrier (ADR 0014): Ray lets `_labels` through `.options(...).bind(...)` unchanged, so one label holds all options as
JSON. It is taken off before anything is dispatched; Ray never sees it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import FunctionType
from typing import Any, Final, cast

from shoal.errors import InvalidInputError, UnsupportedError
from shoal.model.encoding import is_exact_json
from shoal.model.policies import Resources, RetryPolicy
from shoal.model.values import Json
from shoal.workflow._ray import ray

LABEL: Final = "shoal.workflow"
"""The label that holds the options."""

ATTRIBUTE: Final = "__shoal_workflow_options__"
"""Where the decorator leaves them on a function."""

DEFAULT_RETRIES: Final = 3
"""Ray's own default of `max_retries`."""

_ENDLESS: Final = 1_000_000
_OWN: Final = ("task_id", "metadata", "catch_exceptions", "checkpoint", "timeout", "backoff", "max_backoff")


class options:  # noqa: N801 - it is used like a function, as it was in ray.workflow
    """Options of a task, as a decorator above `@ray.remote` or as `task.options(**workflow.options(...))`.

    What stands in `.options(...)` overrides what the decorator says, option by option.
    """

    def __init__(self, **given: Any) -> None:
        """Take options.

        Args:
            **given: `task_id` (its name in the run; default: the function's), `metadata` (a dict of JSON), `catch_exceptions`
                (its value becomes the pair of value and exception), `checkpoint` (False: its value is not stored),
                `timeout` (seconds that an attempt may take), `backoff` and `max_backoff` (seconds before the first retry,
                doubling up to the most).

        Raises:
            ValueError: An option does not exist or does not have the form it should.
        """
        unknown = [name for name in given if name not in _OWN]
        if unknown:
            raise ValueError(f"workflow.options takes {', '.join(_OWN)}; not {', '.join(unknown)}")
        self._given: dict[str, Json] = {name: _checked(name, value) for name, value in given.items() if value is not None}

    def keys(self) -> Iterator[str]:
        """Return the keyword under which the options go through Ray, for `**`."""
        return iter(("_labels",))

    def __getitem__(self, key: str) -> dict[str, str]:
        """Return the labels."""
        if key != "_labels":
            raise KeyError(key)
        return {LABEL: json.dumps(self._given)}

    def __call__(self, task: Any) -> Any:
        """Return a remote function with these options as its defaults; the one that was given stays as it is.

        Raises:
            ValueError: It is no remote function.
        """
        function = getattr(task, "_function", None)
        if type(task).__name__ != "RemoteFunction" or not isinstance(function, FunctionType):
            raise ValueError("workflow.options decorates a remote function: put it above @ray.remote")
        twin = _twin(function)
        twin.__dict__[ATTRIBUTE] = {**function.__dict__.get(ATTRIBUTE, {}), **self._given}
        defaults = dict(task._default_options)  # noqa: SLF001 - Ray has no public way
        if defaults.get("num_gpus"):
            defaults.pop("max_calls", None)  # Ray sets it by itself then
        return ray.remote(**defaults)(twin) if defaults else ray.remote(twin)


def _twin(function: FunctionType) -> FunctionType:
    twin = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__dict__.update(function.__dict__)
    for name in ("__module__", "__qualname__", "__doc__", "__annotations__"):
        setattr(twin, name, getattr(function, name))
    return twin


def _checked(name: str, value: Any) -> Json:
    match name:
        case "task_id" if isinstance(value, str) and value:
            return value
        case "metadata" if isinstance(value, dict) and is_exact_json(cast("object", value)):
            return cast("Json", value)
        case "metadata":
            raise ValueError("metadata is a dictionary with values that JSON holds")
        case "catch_exceptions" | "checkpoint" if isinstance(value, bool):
            return value
        case "timeout" | "backoff" | "max_backoff" if isinstance(value, (int, float, timedelta)) and not isinstance(
            value, bool
        ):
            seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
            if seconds >= 0:
                return seconds
        case _:
            pass
    raise ValueError(f"workflow.options: {name}={value!r} does not have the form it should")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The options of one node, Ray's and ours, as its step will have them.

    Attributes:
        task_id: As given; None: the function's name.
        env: Environment variables.
        requirements: Packages beside the base environment's.
        told: What `get_metadata` shows as the task's options.
    """

    task_id: str | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
    catch: bool = False
    checkpoint: bool = True
    timeout: timedelta | None = None
    retry: RetryPolicy = RetryPolicy()
    resources: Resources = Resources()
    env: tuple[tuple[str, str], ...] = ()
    requirements: tuple[str, ...] = ()
    told: dict[str, Json] = field(default_factory=dict[str, Json])


def read_options(function: object, bound: Mapping[str, Any]) -> TaskOptions:
    """Return the options of a node.

    Args:
        function: Its function; the decorator may have left some on it.
        bound: What Ray was given.

    Raises:
        UnsupportedError: One that this version does not have.
        InvalidInputError: One does not have the form it should.
    """
    ray_options = {name: value for name, value in bound.items() if value is not None}
    labels = dict(cast("Mapping[str, str]", ray_options.pop("_labels", None) or {}))
    own: dict[str, Any] = {**getattr(function, ATTRIBUTE, {}), **json.loads(labels.pop(LABEL, "{}"))}
    if ray_options.get("num_gpus"):
        ray_options.pop("max_calls", None)  # Ray sets it by itself then
    resources = _resources(ray_options)
    retries = ray_options.pop("max_retries", DEFAULT_RETRIES)
    retried = ray_options.pop("retry_exceptions", False)
    env, requirements = _environment(ray_options.pop("runtime_env", None))
    if ray_options.pop("num_returns", 1) not in (1, None):
        raise InvalidInputError("a task of a workflow has one return value", hint="return a tuple")
    if labels or ray_options:
        names = ", ".join(sorted([*ray_options, *(f"_labels[{name!r}]" for name in labels)]))
        raise UnsupportedError(
            f"the option {names} of {getattr(function, '__name__', function)} is not in this version",
            hint="a task of a workflow takes num_cpus, num_gpus, memory, resources, max_retries, retry_exceptions, runtime_env",
        )
    policy = _retry(retries, retried, own)
    told: dict[str, Json] = {
        "task_type": "FUNCTION",
        "max_retries": retries,
        "retry_exceptions": retried if isinstance(retried, bool) else [e.__name__ for e in retried],
        "catch_exceptions": own.get("catch_exceptions", False),
        "checkpoint": own.get("checkpoint", True),
        "ray_options": {k: v for k, v in bound.items() if k not in ("_labels", "retry_exceptions") and is_exact_json(v)},
    }
    return TaskOptions(
        task_id=own.get("task_id"),
        metadata=own.get("metadata", {}),
        catch=own.get("catch_exceptions", False),
        checkpoint=own.get("checkpoint", True),
        timeout=timedelta(seconds=own["timeout"]) if "timeout" in own else None,
        retry=policy,
        resources=resources,
        env=env,
        requirements=requirements,
        told=told,
    )


def _resources(given: dict[str, Any]) -> Resources:
    custom = cast("Mapping[str, float]", given.pop("resources", None) or {})
    cpus, gpus, memory = given.pop("num_cpus", None), given.pop("num_gpus", None), given.pop("memory", None)
    return Resources(cpus, gpus, None if memory is None else int(memory), tuple(sorted(custom.items())))


def _retry(retries: int, retried: Any, own: Mapping[str, Any]) -> RetryPolicy:
    """Return the policy: `max_retries` is for lost workers, and for exceptions too where `retry_exceptions` says so."""
    again = _ENDLESS if retries < 0 else retries
    names: tuple[str, ...] = ()
    if not isinstance(retried, bool):
        classes = cast("list[type[BaseException]]", retried)
        own_names = [c.__qualname__ if c.__module__ == "builtins" else f"{c.__module__}.{c.__qualname__}" for c in classes]
        names = (*own_names, "worker_lost", "oom")
    first = float(own.get("backoff", 0.0))
    return RetryPolicy(
        max_attempts=again + 1 if retried else 1,
        initial=timedelta(seconds=first),
        maximum=timedelta(seconds=float(own.get("max_backoff", max(60.0, first)))),
        jitter=False,
        on=names,
        worker_lost=again,
        out_of_memory=again,
        explicit=True,
    )


def _environment(runtime_env: Any) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return variables and requirements of a `runtime_env`."""
    if not runtime_env:
        return (), ()
    given = dict(cast("Mapping[str, Any]", runtime_env))
    given.pop("_ray_commit", None)
    variables = cast("Mapping[str, str]", given.pop("env_vars", None) or {})
    env = tuple(sorted((str(k), str(v)) for k, v in variables.items()))
    requirements: list[str] = []
    for tool in ("pip", "uv"):
        wanted = given.pop(tool, None)
        if isinstance(wanted, Mapping):
            packages = dict(cast("Mapping[str, Any]", wanted))
            listed = packages.pop("packages", [])
            if any(value for value in packages.values()):
                raise UnsupportedError(f"runtime_env[{tool!r}] with {', '.join(sorted(packages))} is not in this version")
            wanted = listed
        if isinstance(wanted, str):
            raise UnsupportedError(f"runtime_env[{tool!r}] as a file is not in this version", hint="list the packages")
        requirements += cast("list[str]", wanted or [])
    if given:
        raise UnsupportedError(
            f"runtime_env with {', '.join(sorted(given))} is not in this version",
            hint="it may have env_vars, and pip or uv with a list of packages",
        )
    return env, tuple(requirements)


def with_task_id(given: TaskOptions, task_id: str) -> TaskOptions:
    """Return options under another name."""
    return dataclasses.replace(given, task_id=task_id)
