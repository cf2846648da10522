"""The tokens of an expression.

Owns where an expression ends inside a text, and how far a reference reaches: names in references may hold hyphens, so
`steps.fetch-page.outputs.body` is one token, and a subtraction needs spaces. Understands nothing of what it cuts up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

ROOTS: Final = ("steps", "inputs", "context", "run", "item", "index", "secrets")
"""The names with which a reference begins."""

_SPACE = re.compile(r"[ \t\r\n]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?")
_STRING = re.compile(
    r"(?:[rR][bB]?|[bB][rR]?)?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")",
    re.DOTALL,
)
_RAW_STRING = re.compile(r"(?:[rR][bB]?|[bB][rR])(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|\"[^\"\n]*\")", re.DOTALL)
_PUNCTUATION = re.compile(r"&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}]")
_SEGMENT_NAME = re.compile(r"[ \t]*\.[ \t]*([A-Za-z_][A-Za-z0-9_-]*)")
_CALL = re.compile(r"[ \t\r\n]*\(")
_SEGMENT_KEY = re.compile(r"\[[ \t]*(?:(\d{1,9})|'([^'\\\n]*)'|\"([^\"\\\n]*)\")[ \t]*\]")
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}


class ExpressionSyntaxError(Exception):
    """An expression is wrong at a place of its text.

    Attributes:
        offset: Of the character, from the start of the text.
        hint: What to do about it.
    """

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: What it is; `path` is the text of a whole reference.
        text: As written.
        start: Offset of its first character.
        path: For a reference its names, keys and indices; the first is one of `ROOTS`.
        depth: Open brackets around it.
    """

    kind: Literal["name", "number", "string", "punctuation", "path"]
    text: str
    start: int
    path: tuple[str | int, ...] = ()
    depth: int = 0

    @property
    def end(self) -> int:
        """Offset behind its last character."""
        return self.start + len(self.text)


def tokenize(text: str, start: int = 0, *, embedded: bool = False, references: bool = True) -> tuple[list[Token], int]:
    """Return the tokens of an expression and the offset behind it.

    Args:
        text: The text it stands in.
        start: Where it begins.
        embedded: It ends at the first `}}` outside of strings and brackets; else at the end of the text.
        references: Whether references are cut out as one token.

    Raises:
        ExpressionSyntaxError: There is a character that begins no token, a bracket does not match, or the end is missing.
    """
    tokens: list[Token] = []
    closers: list[str] = []
    position = start
    while position < len(text):
        space = _SPACE.match(text, position)
        if space:
            position = space.end()
            continue
        if embedded and not closers and text.startswith("}}", position):
            return tokens, position
        token = _next(text, position, tokens, references=references)
        if token.kind == "punctuation":
            _follow(token, closers, opened_at=start)
        tokens.append(Token(token.kind, token.text, token.start, token.path, len(closers)) if closers or token.path else token)
        position = token.end
    if embedded:
        raise ExpressionSyntaxError("{{ has no matching }}", max(start - 2, 0), "a literal {{ is written {{ '{{' }}")
    if closers:
        raise ExpressionSyntaxError(f"a closing {closers[-1]} is missing", len(text))
    return tokens, position


def _follow(token: Token, closers: list[str], *, opened_at: int) -> None:
    if token.text in _OPENING:
        closers.append(_OPENING[token.text])
    elif token.text in {")", "]", "}"}:
        if not closers or closers[-1] != token.text:
            expected = f"; {closers[-1]} is open" if closers else ""
            raise ExpressionSyntaxError(f"{token.text} closes nothing{expected}", max(token.start, opened_at))
        closers.pop()


def _next(text: str, position: int, before: list[Token], *, references: bool) -> Token:
    match = _RAW_STRING.match(text, position) or _STRING.match(text, position)
    if match:
        return Token("string", match[0], position)
    match = _NUMBER.match(text, position)
    if match:
        return Token("number", match[0], position)
    match = _NAME.match(text, position)
    if match:
        after_dot = bool(before) and before[-1].text == "."
        if references and match[0] in ROOTS and not after_dot:
            return _reference(text, position, match.end(), match[0])
        return Token("name", match[0], position)
    match = _PUNCTUATION.match(text, position)
    if match:
        return Token("punctuation", match[0], position)
    character = text[position]
    if character in "'\"":
        raise ExpressionSyntaxError("a text has no closing quote", position)
    hints = {"=": "compare with ==", "&": "write &&", "|": "write ||; there are no filters", "$": "write {{ inputs.NAME }}"}
    raise ExpressionSyntaxError(f"{character!r} is not part of the expression language", position, hints.get(character))


def _reference(text: str, start: int, position: int, root: str) -> Token:
    """Take names, keys and indices that stand as literals; stop before a method call and before a computed index."""
    path: list[str | int] = [root]
    while True:
        match = _SEGMENT_NAME.match(text, position)
        if match and not _CALL.match(text, match.end()):
            path.append(match[1])
            position = match.end()
            continue
        match = _SEGMENT_KEY.match(text, position)
        if match is None:
            return Token("path", text[start:position], start, tuple(path))
        path.append(int(match[1]) if match[1] is not None else match[2] if match[2] is not None else match[3])
        position = match.end()
