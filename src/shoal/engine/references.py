"""Which steps a template refers to."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.model.ids import StepName
from shoal.model.workflow import (
    CallTool,
    Condition,
    Constant,
    Expression,
    ListOf,
    MapOf,
    Recorded,
    Reference,
    RunWorkflow,
    Sleep,
    Step,
    Template,
    Text,
    WaitSignal,
    Workflow,
)


def referenced_steps(what: Step | Iterable[tuple[str, Template]]) -> set[StepName]:
    """Return the names of the steps that a step, or named templates, refer to."""
    found: set[StepName] = set()
    for template in _templates(what):
        _collect(template, found)
    return found


def _templates(what: Step | Iterable[tuple[str, Template]]) -> Iterable[Template | Condition]:
    if not isinstance(what, Step):
        for _, template in what:
            yield template
        return
    for _, template in (*what.inputs, *what.env):
        yield template
    if what.condition is not None:
        yield what.condition
    if what.foreach is not None:
        yield what.foreach
    match what.action:
        case WaitSignal(signal=template) | Sleep(duration=template):
            yield template
        case _:
            return


def _collect(template: Template | Condition, found: set[StepName]) -> None:
    match template:
        case Reference(root=("steps", name, *_)):
            found.add(StepName(name))
        case Expression(references=references):
            for reference in references:
                _collect(reference, found)
        case Text(parts=parts):
            for part in parts:
                _collect(part, found)
        case ListOf(items=items):
            for item in items:
                _collect(item, found)
        case MapOf(entries=entries):
            for _, entry in entries:
                _collect(entry, found)
        case Condition(expression=expression):
            _collect(expression, found)
        case Constant() | Recorded() | Reference():
            return


def steps_with_tools(workflow: Workflow) -> Iterable[tuple[Workflow, Step]]:
    """Yield every step of a workflow and its sub-workflows that calls a tool, with the workflow it stands in."""
    for step in (*workflow.steps, *workflow.finally_steps):
        if isinstance(step.action, RunWorkflow):
            yield from steps_with_tools(step.action.workflow)
        elif isinstance(step.action, CallTool):
            yield workflow, step
