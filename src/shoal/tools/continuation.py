"""The answer by which a tool asks for more work. Owns its form on the author's side; the invoker encodes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shoal.errors import NonRetryableError
from shoal.model.values import Json


@dataclass(frozen=True, slots=True)
class MoreWork:
    """What `continuation` returns, and what a tool in turn must return as it is.

    Attributes:
        target: Text of a tool reference, or a workflow as a mapping of the language.
        inputs: By name; literal.
        requirements: Further requirements of a tool (PEP 508).
    """

    target: str | Mapping[str, object]
    inputs: Mapping[str, object] = field(default_factory=dict[str, object])
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MoreGraph:
    """A Python DAG as an answer.

    Attributes:
        graph: Returns the JSON form of its `Workflow`; every blob that it names is durable then.
    """

    graph: Callable[[], dict[str, Json]]


def continuation(
    target: str | Mapping[str, object],
    inputs: Mapping[str, object] | None = None,
    *,
    requirements: Sequence[str] = (),
) -> MoreWork:
    """Return an answer that makes the graph grow: the step's outputs become those of `target`.

    The attempt ends with this answer and holds no worker while the new work goes on, so a loop or a recursion of any length
    costs no more than its steps. The graph grows durably: once the answer is recorded, a crash does not call the tool again.

    Args:
        target: Text of a tool reference (`name@1.2.0`, `package.module:function`), or a workflow as a mapping, which is
            validated like a file and sees only its own inputs and steps.
        inputs: By name. Literal: `{{ }}` in them is never evaluated. Large values and Python objects are allowed.
        requirements: Further requirements of a tool (PEP 508).

    Raises:
        NonRetryableError: The arguments are not of these types.
    """
    if not isinstance(target, (str, Mapping)):
        raise NonRetryableError(
            f"a continuation's target is the text of a tool reference or a workflow mapping, not {type(target).__name__}",
            hint="write 'package.module:function' for a function",
        )
    given = dict(inputs or {})
    if not all(isinstance(name, str) for name in given):
        raise NonRetryableError("the names of a continuation's inputs are strings")
    if isinstance(requirements, str):
        raise NonRetryableError("requirements is a list of strings, not one string")
    if requirements and not isinstance(target, str):
        raise NonRetryableError("requirements belong to a tool; in a workflow each step has its own")
    return MoreWork(target, given, tuple(requirements))
