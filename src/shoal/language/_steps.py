"""Steps: from their nodes to drafts, before references are checked and the order is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from shoal.errors import DefinitionError
from shoal.language._document import Mapping, Node, Scalar, Sequence, describe
from shoal.language._fields import Fields, check_name, check_variable, named_values
from shoal.language._keys import ACTIONS, DEFAULTS, KEYS_OF_ACTION, OUTPUT_NAME, RESOURCES, RETRY, STEP, WAIT
from shoal.language._problems import Mark, Problems, suggest
from shoal.language._templates import OPEN, Uses
from shoal.language.durations import parse_duration
from shoal.language.tool_references import LITERAL_INPUTS, check_requirement, parse_tool
from shoal.model.ids import StepName
from shoal.model.policies import Isolation, OnError, Resources, RetryPolicy
from shoal.model.tools import ToolReference
from shoal.model.workflow import Action, CallTool, Constant, RunWorkflow, Sleep, Step, Template, Text, WaitSignal, Workflow

FindWorkflow = Callable[[str, Mark], "Workflow | None"]
"""Finds a sub-workflow by path or id; reports what is wrong at a place and returns None."""

_NO_TOOL = CallTool(ToolReference("", "builtin", ""))


_ISOLATIONS = [i.value for i in Isolation if i is not Isolation.SHARED]
"""Those that a workflow file may name: `shared` is for functions that are written for it."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for every tool step that does not say otherwise."""

    retry: RetryPolicy = RetryPolicy()
    timeout: timedelta | None = None
    env: tuple[tuple[str, Template], ...] = ()
    uses: Uses | None = None
    resources: Resources = Resources()
    isolation: Isolation = Isolation.POOL


@dataclass(slots=True)
class Draft:
    """A step whose references are not checked yet.

    Attributes:
        step: The step, without its needs.
        mark: Where it stands.
        told: Its `needs` with their places; None: it has none.
        uses: Its references.
        inputs: Where each input stands.
    """

    step: Step
    mark: Mark
    told: list[tuple[str, Mark]] | None
    uses: Uses
    inputs: dict[str, Mark] = field(default_factory=dict[str, Mark])


def read_defaults(node: Node | None, problems: Problems) -> Defaults:
    """Return the `defaults` of a workflow."""
    fields = Fields.of(node, "`defaults`", DEFAULTS, problems) if node is not None else None
    if fields is None:
        return Defaults()
    uses = Uses(problems, secrets=True)
    return Defaults(
        retry=read_retry(fields, RetryPolicy()),
        timeout=fields.duration("timeout"),
        env=_environment(fields, ("env",), uses),
        uses=uses,
        resources=read_resources(fields, Resources()),
        isolation=Isolation(fields.choice("isolation", _ISOLATIONS) or Isolation.POOL),
    )


def read_step(node: Node, defaults: Defaults, find: FindWorkflow, problems: Problems) -> Draft | None:
    """Return the draft of a step; None if there is not enough of it to go on with."""
    fields = Fields.of(node, "a step", STEP, problems)
    if fields is None:
        return None
    name = fields.text("name")
    if name is None or not check_name(name, "a step", fields.mark("name"), problems):
        return None
    fields.what = f"step {name!r}"
    kind = _kind_of(fields)
    uses = Uses(problems, secrets=kind == "tool")
    action, known_inputs = _action(fields, kind, uses, find)
    marks: dict[str, Mark] = {}
    step = Step(
        StepName(name),
        action,
        inputs=_inputs(fields, uses, action, known_inputs, marks),
        outputs=_output_names(fields),
        concurrency=fields.count("concurrency", 100_000),
        deadline=fields.duration("deadline"),
        on_error=OnError(fields.choice("on_error", [e.value for e in OnError]) or OnError.FAIL),
        checkpoint=fields.boolean("checkpoint", default=True),
    )
    step = _control(step, fields, problems, uses)
    if kind == "tool":
        step = _tool_policies(step, fields, defaults, uses)
    told = fields.texts("needs")
    return Draft(
        step, fields.mark("name"), None if told is None else [(cast("str", n.value), n.mark) for n in told], uses, marks
    )


def _kind_of(fields: Fields) -> str:
    present = [key for key in ACTIONS if key in fields]
    if not present:
        fields.problems.add(
            fields.node.mark, f"{fields.what} does nothing", "give it one of the keys tool, workflow, wait, sleep"
        ) if "agent" not in fields else None
        return "tool"
    for extra in present[1:]:
        fields.problems.add(fields.mark(extra), f"{fields.what} has both `{present[0]}` and `{extra}`", "make it two steps")
    kind = present[0]
    for key in fields.node.entries:
        if key in STEP and key not in ACTIONS and key not in KEYS_OF_ACTION[kind]:
            fields.problems.add(fields.mark(key), f"`{key}` has no meaning for a step with `{kind}`")
    return kind


def _action(fields: Fields, kind: str, uses: Uses, find: FindWorkflow) -> tuple[Action, set[str] | None]:
    """Return what a step does, and the inputs that are known for it (None: any)."""
    match kind:
        case "workflow":
            text = fields.text("workflow")
            found = find(text, cast("Node", fields.get("workflow")).mark) if text is not None else None
            return (RunWorkflow(found), {i.name for i in found.inputs}) if found else (_NO_TOOL, None)
        case "wait":
            inner = fields.inner("wait", WAIT)
            node = inner.get("signal") if inner else None
            if inner is None or node is None or inner.text("signal") is None:
                return _NO_TOOL, None
            return WaitSignal(uses.template(node), inner.duration("timeout")), None
        case "sleep":
            return _sleep(fields, uses), None
        case _:
            return _tool(fields), None


def _sleep(fields: Fields, uses: Uses) -> Action:
    node = cast("Node", fields.get("sleep"))
    template = uses.template(node)
    if isinstance(template, Constant):
        try:
            parse_duration(template.value)
        except ValueError as error:
            fields.wrong("sleep", "a duration", node, str(error))
    return Sleep(template)


def _tool(fields: Fields) -> Action:
    text = fields.text("tool")
    if text is None:
        return _NO_TOOL
    try:
        reference = parse_tool(text)
    except DefinitionError as error:
        for problem in error.problems:
            fields.problems.add(cast("Node", fields.get("tool")).mark, problem.message, problem.hint)
        return _NO_TOOL
    requirements: list[str] = []
    for node in fields.texts("requirements") or []:
        requirement = cast("str", node.value)
        wrong = check_requirement(requirement)
        if wrong:
            fields.problems.add(node.mark, f"{requirement[:80]!r} is not a requirement: {wrong}", "write it as pip takes it")
        requirements.append(requirement)
    return CallTool(reference, tuple(requirements))


def _inputs(
    fields: Fields, uses: Uses, action: Action, known: set[str] | None, marks: dict[str, Mark]
) -> tuple[tuple[str, Template], ...]:
    node = fields.get("inputs")
    if node is None:
        return ()
    literal = LITERAL_INPUTS.get(action.reference.name) if isinstance(action, CallTool) else None
    found: list[tuple[str, Template]] = []
    for name, mark, value in named_values(node, "`inputs`", fields.problems):
        marks[name] = mark
        if known is not None and name not in known and isinstance(action, RunWorkflow):
            fields.problems.add(mark, f"workflow {action.workflow.id!r} has no input {name!r}", suggest(name, known))
        if value is None:
            fields.problems.add(mark, f"the input {name!r} needs a value")
        elif name == literal and isinstance(action, CallTool):
            found.append((name, _literal(value, action.reference.name, fields.problems, name)))
        else:
            found.append((name, uses.template(value)))
    return tuple(found)


def _literal(node: Node, tool: str, problems: Problems, name: str) -> Template:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        problems.add(node.mark, f"`{name}` of {tool} must be text, not {describe(node)}")
        return Constant("")
    if OPEN in node.value:
        how = "environment variables (`env`)" if tool == "shell" else "further inputs; they are keyword arguments"
        problems.add(
            node.place(node.value.index(OPEN)),
            f"`{name}` of {tool} is run as it stands; {{{{ }}}} is not allowed in it",
            f"pass values in as {how}",
        )
    return Constant(node.value)


def _output_names(fields: Fields) -> tuple[str, ...]:
    node = fields.get("outputs")
    if node is None:
        return ()
    names: list[str] = []
    if isinstance(node, Sequence) and all(isinstance(item, Scalar) for item in node.items):
        for item in fields.texts("outputs") or []:
            if item.value in names:
                fields.problems.add(item.mark, f"`outputs` names {item.value!r} twice")
            elif check_name(cast("str", item.value), "an output", item.mark, fields.problems):
                names.append(cast("str", item.value))
        return tuple(names)
    for name, mark, value in named_values(node, "`outputs`", fields.problems, OUTPUT_NAME):
        if isinstance(node, Mapping) and not (isinstance(value, Scalar) and value.value is None):
            Fields.of(cast("Node", value), f"output {name!r}", OUTPUT_NAME, fields.problems)
        if check_name(name, "an output", mark, fields.problems):
            names.append(name)
    return tuple(names)


def _control(step: Step, fields: Fields, problems: Problems, uses: Uses) -> Step:
    condition = fields.get("if")
    loop = fields.get("foreach")
    if loop is None and "concurrency" in fields:
        problems.add(fields.mark("concurrency"), "`concurrency` has a meaning only with `foreach`")
    return dataclasses.replace(
        step,
        condition=uses.condition(condition) if condition is not None else None,
        foreach=uses.items(loop) if loop is not None else None,
    )


def _tool_policies(step: Step, fields: Fields, defaults: Defaults, uses: Uses) -> Step:
    own = dict(_environment(fields, ("env", "env_vars", "parameters"), uses))
    if defaults.uses is not None:
        uses.found.extend(defaults.uses.found)
    return dataclasses.replace(
        step,
        env=tuple({**dict(defaults.env), **own}.items()),
        isolation=Isolation(fields.choice("isolation", _ISOLATIONS) or defaults.isolation),
        resources=read_resources(fields, defaults.resources),
        retry=read_retry(fields, defaults.retry),
        timeout=fields.duration("timeout") if "timeout" in fields else defaults.timeout,
    )


def _environment(fields: Fields, keys: tuple[str, ...], uses: Uses) -> tuple[tuple[str, Template], ...]:
    """Return environment variables; their templates always make text."""
    found: dict[str, Template] = {}
    for key in keys:
        node = fields.get(key)
        if node is None:
            continue
        for name, mark, value in named_values(node, f"`{key}`", fields.problems):
            if name in found:
                fields.problems.add(mark, f"the environment variable {name!r} is set twice")
            if not check_variable(name, mark, fields.problems):
                continue
            if value is None or not isinstance(value, Scalar) or value.value is None:
                fields.problems.add(
                    value.mark if value else mark, f"the environment variable {name!r} must be text", "put it in quotes"
                )
                continue
            found[name] = _as_text(uses.template(value))
    return tuple(found.items())


def _as_text(template: Template) -> Template:
    match template:
        case Constant(value=str()) | Text():
            return template
        case Constant(value=bool()):
            return Constant(str(template.value).lower())
        case Constant():
            return Constant(str(template.value))
        case _:
            return Text((template,))


def read_retry(fields: Fields, default: RetryPolicy) -> RetryPolicy:
    """Return a retry policy; keys that are missing stand as in the default."""
    inner = fields.inner("retry", RETRY)
    if inner is None:
        return default
    on = inner.texts("on", single=True)
    for name in on or []:
        if not all(part.isidentifier() for part in cast("str", name.value).split(".")):
            inner.problems.add(
                name.mark, f"{name.value!r} is not the name of an exception", "or write worker_lost, timeout, oom, any"
            )
    initial, maximum = inner.duration("initial"), inner.duration("max")
    policy = RetryPolicy(
        max_attempts=inner.count("max_attempts", 1000) or default.max_attempts,
        initial=default.initial if initial is None else initial,
        maximum=default.maximum if maximum is None else maximum,
        multiplier=inner.number("multiplier", 1, 100) or default.multiplier,
        jitter=inner.boolean("jitter", default=default.jitter),
        on=default.on if on is None else tuple(cast("str", n.value) for n in on),
        worker_lost=default.worker_lost,
        out_of_memory=default.out_of_memory,
        explicit=True,
    )
    if policy.initial > policy.maximum and initial is not None:
        inner.problems.add(inner.mark("initial"), "`initial` is longer than `max`")
    return policy


def read_resources(fields: Fields, default: Resources) -> Resources:
    """Return resources; keys that are missing stand as in the default."""
    inner = fields.inner("resources", RESOURCES)
    if inner is None:
        return default
    custom: dict[str, float] = dict(default.custom)
    node = inner.get("custom")
    if isinstance(node, Mapping):
        for name, (_, value) in node.entries.items():
            amount = inner.as_number(name, value, 0, 1e9)
            if amount is not None:
                custom[name] = float(amount)
    elif node is not None:
        inner.wrong("custom", "a mapping", node)
    cpus, gpus = inner.number("cpus", 0, 1e6), inner.number("gpus", 0, 1e6)
    return Resources(
        cpus=default.cpus if cpus is None else cpus,
        gpus=default.gpus if gpus is None else gpus,
        memory=inner.size("memory") or default.memory,
        custom=tuple(custom.items()),
    )
