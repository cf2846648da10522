"""Workflows: from the root node to the model."""

from __future__ import annotations

from typing import cast

from shoal.language import _graph
from shoal.language._document import Node, Scalar, Sequence
from shoal.language._fields import Fields, check_name, named_values
from shoal.language._inputs import read_inputs
from shoal.language._keys import RESERVED_IDS, WORKFLOW
from shoal.language._problems import Mark, Problems
from shoal.language._steps import Defaults, Draft, FindWorkflow, read_defaults, read_step
from shoal.language._templates import Uses
from shoal.model.ids import WORKFLOW_ID, WorkflowId
from shoal.model.workflow import RunWorkflow, Step, Template, Workflow

_DEFAULT_ROOTS = frozenset({"inputs", "context", "run", "secrets"})


def read_workflow(root: Node, base_dir: str | None, find: FindWorkflow, problems: Problems) -> Workflow | None:
    """Return the workflow of a document; None if problems were found.

    Args:
        root: The document.
        base_dir: Folder of its file.
        find: Finds sub-workflows.
        problems: Where problems go.
    """
    before = len(problems.found)
    fields = Fields.of(root, "a workflow", WORKFLOW, problems)
    if fields is None:
        return None
    identity = _read_id(fields)
    inputs = read_inputs(fields.get("inputs"), problems)
    defaults = read_defaults(fields.get("defaults"), problems)
    _check_defaults(defaults, problems)
    drafts = _drafts(fields, "steps", defaults, find)
    finally_drafts = _drafts(fields, "finally", defaults, find)
    names = _graph.Names(
        _by_name([*drafts, *finally_drafts], problems),
        frozenset(d.step.name for d in finally_drafts),
        tuple(i.name for i in inputs),
        problems,
    )
    steps = _graph.order([d for d in drafts if names.steps[d.step.name] is d], names, last=False)
    finally_steps = _graph.order([d for d in finally_drafts if names.steps[d.step.name] is d], names, last=True)
    outputs = _outputs(fields, steps, names)
    _graph.check_whole(fields.node.mark, problems, sum(map(_size, (*steps, *finally_steps))))
    workflow = Workflow(
        WorkflowId(identity),
        steps,
        finally_steps,
        inputs,
        outputs,
        name=fields.text("name") or "",
        description=fields.text("description") or "",
        version=fields.text("version") or "",
        timeout=fields.duration("timeout"),
        max_parallel=fields.count("max_parallel", 100_000),
        base_dir=base_dir,
    )
    return None if len(problems.found) > before else workflow


def _size(step: Step) -> int:
    if not isinstance(step.action, RunWorkflow):
        return 1
    inner = step.action.workflow
    return 1 + sum(map(_size, (*inner.steps, *inner.finally_steps)))


def _read_id(fields: Fields) -> str:
    text = fields.text("id")
    if text is None:
        return ""
    mark = cast("Node", fields.get("id")).mark
    if not WORKFLOW_ID.match(text) or len(text) > 100:  # noqa: PLR2004
        fields.problems.add(mark, f"{text[:80]!r} is not an id", "write it in kebab-case, at most 100 characters: daily-report")
    elif text in RESERVED_IDS:
        fields.problems.add(mark, f"{text!r} is reserved; no workflow has it as its id", f"call it {text}-workflow")
    return text


def _check_defaults(defaults: Defaults, problems: Problems) -> None:
    for use in defaults.uses.found if defaults.uses else []:
        if use.reference.root[0] not in _DEFAULT_ROOTS:
            problems.add(use.mark, "`defaults` may refer to inputs, context, run.id and secrets only")


def _drafts(fields: Fields, key: str, defaults: Defaults, find: FindWorkflow) -> list[Draft]:
    node = fields.get(key)
    items = fields.list_of(key)
    if key == "steps" and isinstance(node, Sequence) and not items:
        fields.problems.add(node.mark, "a workflow has at least one step")
    found = [read_step(item, defaults, find, fields.problems) for item in items]
    return [draft for draft in found if draft is not None]


def _by_name(drafts: list[Draft], problems: Problems) -> dict[str, Draft]:
    found: dict[str, Draft] = {}
    for draft in list(drafts):
        name = draft.step.name
        if name in found:
            first = found[name].mark.line
            problems.add(draft.mark, f"two steps are called {name!r}", f"the first stands in line {first}" if first else None)
            continue
        found[name] = draft
    return found


def _outputs(fields: Fields, steps: tuple[Step, ...], names: _graph.Names) -> tuple[tuple[str, Template], ...] | None:
    node = fields.get("outputs")
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return None
    problems = fields.problems
    uses = Uses(problems)
    found: list[tuple[str, Template]] = []
    for name, mark, value in named_values(node, "`outputs`", problems):
        if not check_name(name, "an output", mark, problems):
            continue
        if value is not None:
            found.append((name, uses.template(value)))
        elif steps:
            found.append((name, _last_output(steps[-1], name, mark, problems)))
    names.check(uses.found, loop=False, main=True)
    return tuple(found)


def _last_output(step: Step, name: str, mark: Mark, problems: Problems) -> Template:
    """Return what an output without a value means: the output of that name of the last step."""
    known = _graph.known_outputs(step)
    if known is not None and name not in known:
        problems.add(
            mark, f"the last step {step.name!r} has no output {name!r}", "give it a value: {{ steps.NAME.outputs.KEY }}"
        )
    return _graph.reference_of_last(step, name)
