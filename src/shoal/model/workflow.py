"""A workflow: the pinned task graph that a run goes through.

It is data, and no YAML: the language makes one from a file, a continuation from a tool's answer, a Python front end from a
Ray DAG. Positions and spellings of the source are gone; every reference is resolved and every expression compiled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Literal

from shoal.model.ids import StepName, WorkflowId
from shoal.model.policies import Isolation, OnError, Resources, RetryPolicy
from shoal.model.tools import ToolReference
from shoal.model.values import Hole, Json

# ---------------------------------------------------------------- templates: inputs before they are evaluated


@dataclass(frozen=True, slots=True)
class Constant:
    """A JSON value that stands as it is."""

    value: Json
    kind: ClassVar[str] = "constant"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference into the run.

    Attributes:
        root: One of `("steps", NAME, "outputs", KEY)`, `("steps", NAME, "outputs")`, `("steps", NAME, "status")`,
            `("steps", NAME, "error")`, `("steps", NAME, "error", "code" | "message")`, `("inputs", NAME)`, `("inputs",)`,
            `("context",)`, `("run", "id")`, `("item",)`, `("index",)`, `("secrets", NAME)`.
        rest: Keys and indices below the root; reading them looks inside the value.
        text: As written, for errors.
    """

    root: tuple[str, ...]
    rest: tuple[str | int, ...] = ()
    text: str = ""
    kind: ClassVar[str] = "reference"


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression in which every reference is replaced by a variable `_0`, `_1`, ...

    Attributes:
        source: The CEL text. `_failed` in it is whether the run has a failed step.
        references: What the variables stand for, in order.
        text: As written, for errors.
    """

    source: str
    references: tuple[Reference, ...] = ()
    text: str = ""
    kind: ClassVar[str] = "expression"


@dataclass(frozen=True, slots=True)
class Text:
    """Text with parts; each part becomes a string."""

    parts: tuple[Template, ...]
    kind: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of templates."""

    items: tuple[Template, ...]
    kind: ClassVar[str] = "list"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with template values."""

    entries: tuple[tuple[str, Template], ...]
    kind: ClassVar[str] = "map"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A value that was recorded before the graph was made (inputs of a continuation or of a Python DAG)."""

    value: Hole
    kind: ClassVar[str] = "recorded"


Template = Constant | Reference | Expression | Text | ListOf | MapOf | Recorded


@dataclass(frozen=True, slots=True)
class Condition:
    """A step's `if`.

    Attributes:
        expression: Its result must be a boolean.
        after_failure: Whether it calls `always()` or `failure()`: the step is considered even when the run is failing.
        statuses: Steps whose status or error it mentions: considered when one of them failed.
    """

    expression: Expression | Constant | Reference
    after_failure: bool = False
    statuses: tuple[StepName, ...] = ()


# ---------------------------------------------------------------- what a step does


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool in an attempt on a worker."""

    reference: ToolReference
    requirements: tuple[str, ...] = ()
    kind: ClassVar[str] = "tool"


@dataclass(frozen=True, slots=True)
class RunWorkflow:
    """Run another workflow as a run of its own under the parent's lease."""

    workflow: Workflow
    kind: ClassVar[str] = "workflow"


@dataclass(frozen=True, slots=True)
class WaitSignal:
    """Wait for a signal; the step's output is its payload: the members of a mapping, else `result`.

    Attributes:
        signal: Its name.
        timeout: Longest wait; None: for ever. When it has passed the step fails with `StepTimeoutError`.
        shape: What becomes of the payload. `members`: as above. `whole`: it is the output `result`. `event`: `result` is the
            pair of the signal's name and the payload.
    """

    signal: Template
    timeout: timedelta | None = None
    shape: Literal["members", "whole", "event"] = "members"
    kind: ClassVar[str] = "wait"


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sleep; the time to wake is recorded. Each output that the step declares is null.

    Attributes:
        duration: Evaluates to seconds or to a duration's text.
        until: Whether it is a point in time instead, in seconds since 1970.
    """

    duration: Template
    until: bool = False
    kind: ClassVar[str] = "sleep"


Action = CallTool | RunWorkflow | WaitSignal | Sleep


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a workflow.

    Attributes:
        name: Unique in its workflow, `finally` steps included.
        action: What it does.
        needs: The steps that must have ended before it: those it was told, those before it, those it refers to.
        inputs: By name.
        outputs: Declared output names; empty: whatever the tool returns.
        env: Environment variables by name.
        condition: Its `if`; None: it runs.
        foreach: Evaluates to the list of its items; None: it is no loop.
        concurrency: Items at a time; None: twice the worker slots.
        timeout: Per attempt, from the worker's start of it.
        deadline: Per step, from its first start, waits between attempts included.
        checkpoint: False: its result is not recorded.
        catch: When it fails for good it has succeeded all the same, and its output `result` is the Python pair of None and
            the exception.
        metadata: What its author attached, for people and programs that look at a run; never read by the engine.
    """

    name: StepName
    action: Action
    needs: tuple[StepName, ...] = ()
    inputs: tuple[tuple[str, Template], ...] = ()
    outputs: tuple[str, ...] = ()
    env: tuple[tuple[str, Template], ...] = ()
    condition: Condition | None = None
    foreach: Template | None = None
    concurrency: int | None = None
    isolation: Isolation = Isolation.POOL
    resources: Resources = Resources()
    retry: RetryPolicy = RetryPolicy()
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    on_error: OnError = OnError.FAIL
    checkpoint: bool = True
    catch: bool = False
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A declared input of a workflow.

    Attributes:
        name: Its name.
        schema: JSON Schema of its value (`{"type": ...}` and further words); `{}`: anything.
        required: Whether it must be given.
        default: Its value if it is not given and not required.
        description: For people.
    """

    name: str
    schema: dict[str, Json] = field(default_factory=dict[str, Json])
    required: bool = True
    default: Json = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A validated task graph.

    Attributes:
        id: Its id.
        steps: In the order of the definition, without the `finally` steps.
        finally_steps: Run last in any case, in an order given by their own `needs` among themselves.
        outputs: The run's result by name; None: the last step's outputs.
        timeout: Per run.
        max_parallel: Attempts of the run at a time; None: no limit of its own.
        base_dir: Folder of its file, absolute; None: it came from no file.
        metadata: As that of a step.
    """

    id: WorkflowId
    steps: tuple[Step, ...]
    finally_steps: tuple[Step, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[tuple[str, Template], ...] | None = None
    name: str = ""
    description: str = ""
    version: str = ""
    timeout: timedelta | None = None
    max_parallel: int | None = None
    base_dir: str | None = None
    metadata: dict[str, Json] = field(default_factory=dict[str, Json])
