"""Nodes to templates: which texts hold expressions, and what they refer to.

Owns the splitting of texts at `{{` and `}}`. A leaf is evaluated once; nothing here or later reads a result as a template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast

from shoal.language._document import Node, Scalar, Sequence, describe, to_json
from shoal.language._lexer import ExpressionSyntaxError
from shoal.language._problems import Mark, Problems
from shoal.language.expressions import Parsed, parse_expression
from shoal.model.ids import StepName
from shoal.model.values import Json
from shoal.model.workflow import Condition, Constant, ListOf, MapOf, Reference, Template, Text

OPEN: Final = "{{"
CLOSE: Final = "}}"


@dataclass(frozen=True, slots=True)
class Use:
    """A reference and the place where it stands."""

    reference: Reference
    mark: Mark


@dataclass(slots=True)
class Uses:
    """The references that one step, or the outputs of a workflow, hold.

    Attributes:
        secrets: Whether secrets may be referred to here.
    """

    problems: Problems
    secrets: bool = False
    found: list[Use] = field(default_factory=list[Use])

    def template(self, node: Node) -> Template:
        """Return the template of a node; wrong parts of it are reported and stand as null."""
        if isinstance(node, Scalar):
            return self.text(node) if isinstance(node.value, str) else Constant(node.value)
        if isinstance(node, Sequence):
            items = tuple(self.template(item) for item in node.items)
            return Constant(to_json(node)) if all(isinstance(i, Constant) for i in items) else ListOf(items)
        entries: list[tuple[str, Template]] = []
        for key, (mark, value) in node.entries.items():
            if OPEN in key:
                self.problems.add(mark, "a key is never evaluated; {{ }} has no meaning here")
            entries.append((key, self.template(value)))
        if all(isinstance(value, Constant) for _, value in entries):
            return Constant(cast("Json", {key: cast("Constant", value).value for key, value in entries}))
        return MapOf(tuple(entries))

    def text(self, node: Scalar) -> Template:
        """Return the template of a text: itself, one expression, or parts."""
        text = cast("str", node.value)
        parts: list[Template] = []
        position = 0
        while (start := text.find(OPEN, position)) >= 0:
            if start > position:
                parts.append(Constant(text[position:start]))
            try:
                parsed, end = parse_expression(text, start + len(OPEN), embedded=True)
            except ExpressionSyntaxError as error:
                self._wrong(node, error)
                return Constant(None)
            parts.append(self._keep(parsed, node))
            position = end + len(CLOSE)
        if not parts:
            return Constant(text)
        if position < len(text):
            parts.append(Constant(text[position:]))
        return parts[0] if len(parts) == 1 else Text(tuple(parts))

    def condition(self, node: Node) -> Condition | None:
        """Return an `if`, with or without `{{ }}`."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return Condition(Constant(node.value))
        parsed = self._whole(node, "`if`", condition=True)
        if parsed is None:
            return None
        statuses: list[StepName] = []
        for reference, _ in parsed.positions:
            if reference.root[0] == "steps" and reference.root[2] in {"status", "error"}:
                statuses.append(StepName(reference.root[1]))
        return Condition(parsed.result, parsed.after_failure, tuple(dict.fromkeys(statuses)))

    def items(self, node: Node) -> Template | None:
        """Return a `foreach`: a list, or an expression with or without `{{ }}`."""
        if isinstance(node, Sequence):
            return self.template(node)
        parsed = self._whole(node, "`foreach`")
        for reference, offset in parsed.positions if parsed else ():
            if reference.root[0] in {"item", "index"}:
                self.problems.add(
                    cast("Scalar", node).place(offset), f"`{reference.root[0]}` has no meaning in `foreach` itself"
                )
        return parsed.result if parsed else None

    def _whole(self, node: Node, what: str, *, condition: bool = False) -> Parsed | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            kind = "an expression" if condition else "a list or an expression"
            self.problems.add(node.mark, f"{what} must be {kind}, not {describe(node)}")
            return None
        text = node.value
        lead = len(text) - len(text.lstrip())
        try:
            if text[lead:].startswith(OPEN):
                parsed, end = parse_expression(text, lead + len(OPEN), embedded=True, condition=condition)
                if text[end + len(CLOSE) :].strip():
                    raise ExpressionSyntaxError(f"{what} is one expression; more follows it", end + len(CLOSE))
            else:
                parsed, _ = parse_expression(text, condition=condition)
        except ExpressionSyntaxError as error:
            self._wrong(node, error)
            return None
        allowed, self.secrets = self.secrets, False
        self._keep(parsed, node)
        self.secrets = allowed
        return parsed

    def _keep(self, parsed: Parsed, node: Scalar) -> Template:
        for reference, offset in parsed.positions:
            mark = node.place(offset)
            if reference.root[0] == "secrets" and not self.secrets:
                self.problems.add(
                    mark, "secrets may be used only in `inputs` and `env` of tool steps", "hand it to the tool that needs it"
                )
            self.found.append(Use(reference, mark))
        return parsed.result

    def _wrong(self, node: Scalar, error: ExpressionSyntaxError) -> None:
        self.problems.add(node.place(error.offset), error.message, error.hint)
