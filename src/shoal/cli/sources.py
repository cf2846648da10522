"""Templates back to the text that a workflow has for them, to show."""

from __future__ import annotations

from typing import assert_never

from shoal.model.values import Json
from shoal.model.workflow import (
    Action,
    CallTool,
    Constant,
    Expression,
    ListOf,
    MapOf,
    Recorded,
    Reference,
    RunWorkflow,
    Sleep,
    Template,
    Text,
    WaitSignal,
)


def template_text(template: Template) -> Json:
    """Return a template as JSON in which references and expressions stand as `{{ ... }}`."""
    match template:
        case Constant():
            return template.value
        case Reference() | Expression():
            return "{{ " + _inner(template) + " }}"
        case Text():
            return "".join(_as_text(part) for part in template.parts)
        case ListOf():
            return [template_text(item) for item in template.items]
        case MapOf():
            return {key: template_text(value) for key, value in template.entries}
        case Recorded():
            return "(a recorded value)"
        case _:
            assert_never(template)


def action_text(action: Action) -> str:
    """Return what a step does, in a few words."""
    match action:
        case CallTool():
            return action.reference.text
        case RunWorkflow():
            return f"workflow {action.workflow.id}"
        case WaitSignal():
            return f"wait for {_as_text(action.signal)}"
        case Sleep():
            return f"sleep {_as_text(action.duration)}"
        case _:
            assert_never(action)


def _as_text(template: Template) -> str:
    value = template_text(template)
    return value if isinstance(value, str) else str(value)


def _inner(template: Reference | Expression) -> str:
    text = template.text.strip()
    if text.startswith("{{") and text.endswith("}}"):
        text = text[2:-2].strip()
    return text or (".".join(template.root) if isinstance(template, Reference) else template.source)
