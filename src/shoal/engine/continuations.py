"""A continuation as a graph: what a tool answered with, validated."""

from __future__ import annotations

import dataclasses
from typing import cast

from shoal.language.loading import load_mapping
from shoal.language.tool_references import parse_tool
from shoal.model.attempts import Continuation
from shoal.model.ids import WorkflowId
from shoal.model.values import Arguments, Hole, Json
from shoal.model.workflow import CallTool, Constant, Recorded, Step, Template, Workflow


def plan_continuation(step: Step, continuation: Continuation) -> tuple[Workflow, Arguments]:
    """Return the graph that takes the place of a step's own result, and its inputs.

    A tool becomes a graph of one step with the policies of the step that answered with it. A mapping is validated like a
    file. Inputs stay literal in both.

    Raises:
        DefinitionError: The target is neither a tool reference nor a valid workflow.
    """
    target = continuation.target
    if not isinstance(target, str):
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


def _literal(arguments: Arguments) -> tuple[tuple[str, Template], ...]:
    """Return inputs as templates that stand for exactly themselves."""
    tree = cast("dict[str, Json]", arguments.tree)
    at_top: dict[str, Hole] = {}
    for path, hole in arguments.holes:
        if len(path) != 1:
            raise ValueError("a value of a continuation that is no JSON must be an input of its own")
        at_top[str(path[0])] = hole
    return tuple((name, Recorded(at_top[name]) if name in at_top else Constant(value)) for name, value in tree.items())
