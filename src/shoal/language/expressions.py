"""Expressions: from the text in `{{ }}`, `if:` and `foreach:` to CEL with numbered references.

Owns the grammar of references and what an expression may hold. The result is plain CEL (`model.workflow.Expression`); how it
is carried out, and bounded, is in `_cel`. See ADR 0008.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shoal.language import _cel
from shoal.language._lexer import ExpressionSyntaxError, Token, tokenize
from shoal.language._problems import suggest
from shoal.model.workflow import Expression, Reference

MAX_LENGTH: Final = 4096
MAX_NESTING: Final = 32

_STEP_PARTS: Final = ("outputs", "status", "error")
_ERROR_PARTS: Final = ("code", "message")
_RUN_FUNCTIONS: Final = {"always": "true", "failure": "_failed", "success": "(!_failed)"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression and what the loader checks of it.

    Attributes:
        result: The expression, or the reference if it is one whole reference.
        positions: Offset of each reference in the text, in order.
        after_failure: Whether it calls `always()` or `failure()`.
    """

    result: Expression | Reference
    positions: tuple[tuple[Reference, int], ...]
    after_failure: bool = False


def parse_expression(text: str, start: int = 0, *, embedded: bool = False, condition: bool = False) -> tuple[Parsed, int]:
    """Return an expression and the offset behind it.

    Args:
        text: The text it stands in.
        start: Where it begins.
        embedded: Whether it ends at `}}`; else it takes all of the text.
        condition: Whether `always()`, `failure()` and `success()` may be called.

    Raises:
        ExpressionSyntaxError: It is not an expression, or is beyond the bounds.
    """
    tokens, end = tokenize(text, start, embedded=embedded)
    if not tokens:
        raise ExpressionSyntaxError("the expression is empty", start)
    written = text[tokens[0].start : tokens[-1].end]
    if len(written) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"the expression has more than {MAX_LENGTH:,} characters", tokens[0].start)
    _check_nesting(tokens)
    if len(tokens) == 1 and tokens[0].kind == "path":
        reference = read_reference(tokens[0])
        return Parsed(reference, ((reference, tokens[0].start),)), end
    writer = _Writer(tokens, text, condition=condition)
    source = writer.write()
    try:
        _cel.compile_source(source)
    except _cel.CelError as error:
        raise ExpressionSyntaxError(error.message, _locate(error, writer, tokens), error.hint) from error
    expression = Expression(source, tuple(writer.references), written)
    return Parsed(expression, tuple(writer.positions), writer.after_failure), end


def _locate(error: _cel.CelError, writer: _Writer, tokens: list[Token]) -> int:
    """Return the offset, in the text as written, of an error in the source."""
    place = tokens[0].start
    for source_offset, offset in writer.map:
        if error.offset is not None and source_offset <= error.offset:
            place = offset
    return place


def _check_nesting(tokens: list[Token]) -> None:
    signs = 0
    choices = 0
    for token in tokens:
        signs = signs + 1 if token.text in {"!", "-"} and token.kind == "punctuation" else 0
        choices += token.kind == "punctuation" and token.text == "?"
        if token.depth + signs + choices > MAX_NESTING:
            raise ExpressionSyntaxError(f"the expression is nested more than {MAX_NESTING} levels deep", token.start)


def read_reference(token: Token) -> Reference:
    """Return the reference that a token holds.

    Raises:
        ExpressionSyntaxError: There is no such thing to refer to.
    """
    root, *rest = token.path
    match root:
        case "steps":
            return _step_reference(token, rest)
        case "inputs":
            if rest and not isinstance(rest[0], str):
                raise ExpressionSyntaxError("inputs are read by name", token.start, "write inputs.NAME")
            length = min(len(token.path), 2)
        case "run":
            if rest != ["id"]:
                raise ExpressionSyntaxError(f"there is no {token.text}", token.start, "there is run.id")
            length = 2
        case "secrets":
            if len(rest) != 1 or not isinstance(rest[0], str):
                raise ExpressionSyntaxError("a secret is read by its name alone", token.start, "write secrets.NAME")
            length = 2
        case _:
            length = 1
    if root == "index" and rest:
        raise ExpressionSyntaxError("index is a number; nothing lies below it", token.start)
    return Reference(tuple(str(p) for p in token.path[:length]), token.path[length:], token.text)


def _step_reference(token: Token, rest: list[str | int]) -> Reference:
    if len(rest) < 2 or not isinstance(rest[0], str):  # noqa: PLR2004 - a name and a part
        raise ExpressionSyntaxError(
            "a reference to a step says what of it", token.start, "write steps.NAME.outputs.KEY or steps.NAME.status"
        )
    part, below = rest[1], rest[2:]
    if part not in _STEP_PARTS:
        raise ExpressionSyntaxError(f"a step has no {part!r}", token.start, suggest(str(part), _STEP_PARTS))
    if part == "outputs" and below and not isinstance(below[0], str):
        raise ExpressionSyntaxError("outputs are read by name", token.start, "write steps.NAME.outputs.KEY")
    if part == "error" and below and (below[0] not in _ERROR_PARTS or len(below) > 1):
        raise ExpressionSyntaxError("an error has a code and a message", token.start, "write steps.NAME.error.message")
    if part == "status" and below:
        raise ExpressionSyntaxError("a status is a text; nothing lies below it", token.start)
    length = 4 if below else 3
    return Reference(tuple(str(p) for p in token.path[:length]), token.path[length:], token.text)


@dataclass(slots=True)
class _Writer:
    """Writes tokens as CEL, references as `_0`, `_1`, ... and calls about the run as what they stand for.

    Attributes:
        map: Offsets of tokens in the source and in the text, for errors.
    """

    tokens: list[Token]
    text: str
    condition: bool
    references: list[Reference] = field(default_factory=list[Reference])
    positions: list[tuple[Reference, int]] = field(default_factory=list[tuple[Reference, int]])
    after_failure: bool = False
    map: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def write(self) -> str:
        """Return the CEL source."""
        out: list[str] = []
        length = 0
        index = 0
        end = self.tokens[0].start
        while index < len(self.tokens):
            token = self.tokens[index]
            gap = " " if token.start > end else ""
            piece, taken = self._piece(index)
            self.map.append((length + len(gap), token.start))
            out += (gap, piece)
            length += len(gap) + len(piece)
            end = self.tokens[index + taken - 1].end
            index += taken
        return "".join(out)

    def _piece(self, index: int) -> tuple[str, int]:
        """Return the CEL text of the tokens from an index on, and how many it takes."""
        token = self.tokens[index]
        if token.kind == "path":
            before = [t.text for t in self.tokens[max(index - 2, 0) : index]]
            if token.path[1:] == () and before[1:] == ["("] and before[0] in _cel.MACROS:
                raise ExpressionSyntaxError(f"{token.text!r} cannot name an element", token.start, "call it x")
            return self._variable(token), 1
        if token.kind != "name" or (index and self.tokens[index - 1].text == "."):
            return token.text, 1
        following = [t.text for t in self.tokens[index + 1 : index + 4]]
        if token.text.startswith("_"):
            raise ExpressionSyntaxError("a name in an expression does not begin with an underscore", token.start)
        if token.text in _RUN_FUNCTIONS:
            return self._run_function(token, following)
        if token.text == "has" and following[:1] == ["("]:
            return self._has(index)
        return token.text, 1

    def _variable(self, token: Token, path: tuple[str | int, ...] | None = None) -> str:
        if token.path[0] == "secrets":
            raise ExpressionSyntaxError(
                "a secret cannot be computed with",
                token.start,
                "pass it on whole, or in the midst of a text: {{ secrets.NAME }}",
            )
        reference = read_reference(token)
        self.positions.append((reference, token.start))
        if path is not None:
            reference = read_reference(Token("path", token.text, token.start, path))
        if reference not in self.references:
            self.references.append(reference)
        return f"_{self.references.index(reference)}"

    def _run_function(self, token: Token, following: list[str]) -> tuple[str, int]:
        if following[:2] != ["(", ")"]:
            raise ExpressionSyntaxError(f"{token.text}() takes no arguments", token.start, f"write {token.text}()")
        if not self.condition:
            raise ExpressionSyntaxError(f"{token.text}() has a meaning only in `if`", token.start)
        self.after_failure = self.after_failure or token.text in {"always", "failure"}
        return _RUN_FUNCTIONS[token.text], 3

    def _has(self, index: int) -> tuple[str, int]:
        """Write `has(REFERENCE.key)` as a look for the key, which works for keys with hyphens and below null too."""
        inner = self.tokens[index + 2 : index + 4]
        if len(inner) < 2 or inner[0].kind != "path" or inner[1].text != ")":  # noqa: PLR2004
            return self.tokens[index].text, 1
        path = inner[0].path
        key = path[-1]
        if len(path) < 2 or not isinstance(key, str) or path[0] in {"run", "secrets"} or (path[0] == "steps" and len(path) < 4):  # noqa: PLR2004
            raise ExpressionSyntaxError("has() looks for a key of a mapping", inner[0].start, "write has(context.NAME)")
        variable = self._variable(inner[0], path[:-1])
        return f"({variable} != null && {_cel.quote(key)} in {variable})", 4
