"""A continuation as a graph: what a tool answered with, validated."""

from __future__ import annotations

import dataclasses
from typing import cast

from shoal.engine.references import referenced_steps
from shoal.errors import DefinitionError
from shoal.language.loading import load_mapping
from shoal.language.tool_references import parse_tool
from shoal.model.attempts import Continuation
from shoal.model.ids import StepName, WorkflowId
from shoal.model.serial import from_json
from shoal.model.values import Arguments, Hole, Json
from shoal.model.workflow import CallTool, Constant, Recorded, Step, Template, Workflow


def plan_continuation(step: Step, continuation: Continuation) -> tuple[Workflow, Arguments]:
    """Return the graph that takes the place of a step's own result, and its inputs.

    A tool becomes a graph of one step with the policies of the step that answered with it. A mapping is validated like a
    file. Inputs stay literal in both.

    Raises:
        DefinitionError: The target is neither a tool reference nor a valid workflow.
        ValueError: It does not even have the form of one.
    """
    target = continuation.target
    if not isinstance(target, str):
        if continuation.form == "model":
            return checked_graph(target), continuation.inputs
        return load_mapping(target), continuation.inputs
    action = CallTool(parse_tool(target), continuation.requirements)
    call = dataclasses.replace(
        step,
        action=action,
        inputs=_literal(continuation.inputs),
        needs=(),
        env=(),
        condition=None,
        foreach=None,
        concurrency=None,
        deadline=None,
    )
    return Workflow(WorkflowId("continuation"), (call,)), Arguments({})


def checked_graph(data: dict[str, Json]) -> Workflow:
    """Return the graph that a worker made of a Python DAG; what comes from where user code ran is not taken on trust.

    Raises:
        DefinitionError: It has no steps, two of one name, or needs that are not there or go round in a circle.
        ValueError: It does not have the form of a graph.
    """
    flow = from_json(Workflow, data)
    earlier: set[StepName] = set()
    for step in flow.steps:
        wanted = {*step.needs, *referenced_steps(step)}
        if step.name in earlier or not wanted <= earlier:
            raise DefinitionError(f"the graph of a continuation is broken at its step {step.name!r}")
        earlier.add(step.name)
    if not flow.steps or flow.finally_steps or flow.inputs or flow.outputs is not None:
        raise DefinitionError("the graph of a continuation is steps, and the last one makes its output")
    return flow


def _literal(arguments: Arguments) -> tuple[tuple[str, Template], ...]:
    """Return inputs as templates that stand for exactly themselves."""
    tree = cast("dict[str, Json]", arguments.tree)
    at_top: dict[str, Hole] = {}
    for path, hole in arguments.holes:
        if len(path) != 1:
            raise ValueError("a value of a continuation that is no JSON must be an input of its own")
        at_top[str(path[0])] = hole
    return tuple((name, Recorded(at_top[name]) if name in at_top else Constant(value)) for name, value in tree.items())
