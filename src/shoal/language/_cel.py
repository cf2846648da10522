"""Carrying out CEL, bounded.

Owns the only use of the CEL binding (`import cel`, in Rust). The binding's own comprehension macros copy their result for
every element (300 x 300 elements took 1.5 s, 1,000 x 1,000 nearly a minute) and go through mappings in random order.
So a macro `list.map(x, BODY)` is cut out of the source: the list goes to a callback that evaluates BODY, compiled once,
for one element after another. Each evaluation is charged to a budget, and so are the regular expressions of `matches`.
Results come back as plain JSON or as an error. See ADR 0008 for the figures.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from shoal.language._lexer import ExpressionSyntaxError, Token, tokenize
from shoal.language._problems import suggest
from shoal.model.values import Json

BUDGET: Final = 1_200_000
"""Units of work of one evaluation: about a value touched, so that the worst case stays under a second."""
MAX_ELEMENTS: Final = 50_000
"""Elements that all comprehensions of one evaluation go through."""
MAX_MACRO_DEPTH: Final = 2
MAX_VALUE_DEPTH: Final = 100
"""Nesting of the values that an expression takes in."""
MACROS: Final = frozenset({"map", "filter", "all", "exists", "exists_one"})
FUNCTIONS: Final = frozenset({"size", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "type", "dyn", "has",
                              "matches", "contains", "startsWith", "endsWith"})  # fmt: skip
METHODS: Final = frozenset({"size", "contains", "startsWith", "endsWith", "matches", "getFullYear", "getMonth", "getDayOfYear",
                            "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds",
                            "getMilliseconds"}) | MACROS  # fmt: skip
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_TYPES: Final = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
_OWN: Final = re.compile(r"_(?:\d+|failed)\Z")
_EXECUTION_COST: Final = 8
_CLASSES: Final = re.compile(r"\\[wWdDsSpPbB]|\[\^|\(\?")
"""What makes a pattern large: classes of Unicode, and flags that turn letters into classes."""
_LOCATION: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")
_UNDEFINED: Final = re.compile(r"Undefined variable or function: '([^']*)'")


class CelError(Exception):
    """An expression is wrong, or cannot be carried out on its values.

    Attributes:
        offset: In the source, where it is known.
        missing: The variable that had no value.
    """

    def __init__(self, message: str, *, offset: int | None = None, hint: str | None = None, missing: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.missing = missing


@functools.cache
def _binding() -> Any:
    """Return the extension module of the package `cel`, without the package's command line.

    `import cel` takes 0.4 s, nearly all of it for a terminal library that the package's own `cli` needs.
    """
    found = importlib.util.find_spec("cel")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder, f"cel{suffix}")
            spec = importlib.util.spec_from_file_location("cel.cel", path) if path.is_file() else None
            if spec is not None and spec.loader is not None and "cel.cel" not in sys.modules:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                sys.modules["cel.cel"] = module
                return module
    return importlib.import_module("cel.cel")


def quote(text: str) -> str:
    """Return a text as a CEL literal."""
    return json.dumps(text)


@dataclass(frozen=True, slots=True)
class Macro:
    """A comprehension that was cut out of a source.

    Attributes:
        kind: One of `MACROS`.
        variable: Its loop variable.
        body: The last argument.
        where: The condition of the form of `map` with three arguments.
    """

    kind: str
    variable: str
    body: Program
    where: Program | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled source without macros.

    Attributes:
        code: The binding's program.
        mentions: How often each variable is mentioned.
        macros: By the name of the method that stands in their place.
        weight: Work of one execution besides that of its variables.
    """

    code: Any
    mentions: Mapping[str, int]
    macros: Mapping[str, Macro]
    weight: int


@functools.lru_cache(maxsize=4096)
def compile_source(source: str) -> Program:
    """Return the compiled form of a CEL source; compiled once.

    Raises:
        CelError: It is not an expression, or holds names or functions that there are not.
    """
    try:
        tokens, _ = tokenize(source, references=False)
    except ExpressionSyntaxError as error:
        raise CelError(error.message, offset=error.offset, hint=error.hint) from error
    return _Compiler(source).compile(tokens, frozenset(), 0)


@dataclass(slots=True)
class _Compiler:
    """Compiles one source; numbers its macros."""

    source: str
    macros: int = 0

    def compile(self, tokens: list[Token], scope: frozenset[str], depth: int) -> Program:
        if not tokens:
            raise CelError("an argument is missing", offset=len(self.source))
        out: list[str] = []
        macros: dict[str, Macro] = {}
        mentions: dict[str, int] = {}
        index = 0
        while index < len(tokens):
            token = tokens[index]
            method = index > 0 and tokens[index - 1].text == "."
            called = index + 1 < len(tokens) and tokens[index + 1].text == "("
            taken = 1
            piece = token.text
            if token.kind == "name" and method and called and token.text in MACROS:
                name, taken = self._macro(tokens, index, scope, depth, macros)
                piece = f"{name}()"
            elif token.kind == "name" and called:
                piece = self._function(token, method=method)
            elif token.kind == "name" and not method:
                self._variable(token, tokens[index + 1 : index + 2], scope, mentions)
            out.append(piece)
            index += taken
        text = " ".join(out)
        try:
            code = _binding().compile(text)
        except ValueError as error:
            raise self._syntax_error(error, tokens, out) from error
        return Program(code, mentions, macros, _EXECUTION_COST + len(tokens))

    def _function(self, token: Token, *, method: bool) -> str:
        known = METHODS if method else FUNCTIONS
        if token.text not in known:
            raise CelError(f"there is no function {token.text}()", offset=token.start, hint=suggest(token.text, known))
        return "_matches" if token.text == "matches" else token.text

    def _variable(self, token: Token, following: list[Token], scope: frozenset[str], mentions: dict[str, int]) -> None:
        name = token.text
        if name in scope or _OWN.match(name):
            mentions[name] = mentions.get(name, 0) + 1
        elif name not in _WORDS and name not in _TYPES:
            hint = suggest(name, ("steps", "inputs", "context", "run.id", "item", "index", "secrets", *scope))
            if following and following[0].text == ":":
                hint = "put the key of a mapping in quotes"
            elif hint is None or "did you mean" not in hint:
                hint = f"put a text in quotes: '{name[:40]}'; an input is inputs.{name[:40]}"
            raise CelError(f"there is no {name[:60]!r} to refer to", offset=token.start, hint=hint)

    def _macro(
        self, tokens: list[Token], index: int, scope: frozenset[str], depth: int, macros: dict[str, Macro]
    ) -> tuple[str, int]:
        """Cut out the macro whose name stands at an index; return its stand-in and how many tokens it took."""
        token = tokens[index]
        if depth >= MAX_MACRO_DEPTH:
            raise CelError(f"comprehensions nest at most {MAX_MACRO_DEPTH} deep", offset=token.start)
        arguments, end = _arguments(tokens, index + 1)
        allowed = (2, 3) if token.text == "map" else (2,)
        if len(arguments) not in allowed or len(arguments[0]) != 1 or arguments[0][0].kind != "name":
            raise CelError(
                f"{token.text} takes a name and an expression", offset=token.start, hint=f"write .{token.text}(x, ...)"
            )
        variable = arguments[0][0]
        if variable.text in _WORDS | _TYPES or variable.text.startswith("_"):
            raise CelError(f"{variable.text!r} cannot name an element", offset=variable.start)
        inner = scope | {variable.text}
        compiled = [self.compile(argument, inner, depth + 1) for argument in arguments[1:]]
        name = f"_m{self.macros}"
        self.macros += 1
        macros[name] = Macro(token.text, variable.text, compiled[-1], compiled[0] if len(compiled) > 1 else None)
        return name, end - index + 1

    def _syntax_error(self, error: ValueError, tokens: list[Token], out: list[str]) -> CelError:
        found = _LOCATION.search(str(error))
        if found is None:
            return CelError("this is not an expression", offset=tokens[0].start)
        column = int(found[2]) - 1
        position = 0
        place = tokens[-1].end
        for token, piece in zip(tokens, out, strict=False):
            if position + len(piece) > column:
                place = token.start
                break
            position += len(piece) + 1
        if "<EOF>" in found[3]:
            return CelError("the expression ends too early", offset=place)
        message = found[3].split(" expecting {")[0].removeprefix("Syntax error: ")
        return CelError(f"the expression is wrong: {message[:160]}", offset=place)


def _arguments(tokens: list[Token], opening: int) -> tuple[list[list[Token]], int]:
    """Return the arguments of a call and the index of its closing bracket."""
    level = 0
    arguments: list[list[Token]] = [[]]
    for index in range(opening, len(tokens)):
        token = tokens[index]
        if token.kind == "punctuation" and token.text in "([{":
            level += 1
            if level == 1:
                continue
        elif token.kind == "punctuation" and token.text in ")]}":
            level -= 1
            if level == 0:
                return arguments, index
        elif token.text == "," and level == 1:
            arguments.append([])
            continue
        arguments[-1].append(token)
    raise CelError("a closing ) is missing", offset=tokens[-1].end)


# ---------------------------------------------------------------- carrying out


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A program and the context that it is executed in."""

    program: Program
    context: Any
    weights: dict[str, int]


@dataclass(slots=True)
class Evaluation:
    """One evaluation with its budget."""

    left: int = BUDGET
    elements: int = MAX_ELEMENTS
    error: CelError | None = None

    def run(self, program: Program, variables: Mapping[str, object]) -> Json:
        """Return what a program makes of its variables, as JSON. Raises `CelError`."""
        weights = {name: weigh(value) for name, value in variables.items()}
        return to_json(self.execute(self.prepare(program, dict(variables), weights)))

    def prepare(self, program: Program, frame: dict[str, object], weights: dict[str, int]) -> _Prepared:
        """Return a program bound to the variables of a frame, which the caller may change afterwards through it."""
        functions: dict[str, Callable[..., object]] = {"_matches": self._matches}
        for name, macro in program.macros.items():
            functions[name] = self._callback(macro, frame, weights)
        variables = {name: frame[name] for name in program.mentions if name in frame}
        return _Prepared(program, _binding().Context(variables, functions), weights)

    def execute(self, prepared: _Prepared) -> object:
        """Return what a program makes of the present variables of its frame. Raises `CelError`."""
        program, weights = prepared.program, prepared.weights
        self.charge(program.weight + sum(weights.get(name, 0) * count for name, count in program.mentions.items()))
        result: object = None
        try:
            result = program.code.execute(prepared.context)
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            if self.error is None:
                self.error = _translate(error)
        if self.error is not None:
            raise self.error
        return result

    def charge(self, work: int) -> None:
        """Take work from the budget. Raises `CelError` when none is left."""
        self.left -= work
        if self.left < 0:
            raise CelError("the expression is too much work for these values", hint="let a tool do it")

    def _callback(self, macro: Macro, frame: dict[str, object], weights: dict[str, int]) -> Callable[..., object]:
        def call(target: object) -> object:
            # The binding prints what a callback raises, so an error is kept until the execution has ended.
            if self.error is None:
                try:
                    return self._comprehend(macro, target, frame, weights)
                except CelError as error:
                    self.error = error
            return None

        return call

    def _comprehend(self, macro: Macro, target: object, frame: dict[str, object], weights: dict[str, int]) -> object:
        """Return what a macro makes of a list, or of the keys of a mapping in alphabetical order."""
        if isinstance(target, dict):
            elements = sorted(cast("dict[object, object]", target), key=lambda key: (type(key).__name__, str(key)))
        elif isinstance(target, list):
            elements = cast("list[object]", target)
        else:
            raise CelError(f".{macro.kind}() is for lists and mappings, not for {kind_of(target)}")
        self.elements -= len(elements)
        if self.elements < 0:
            raise CelError(f"the expression goes through more than {MAX_ELEMENTS:,} elements", hint="let a tool do it")
        loop = _Loop(self, macro, dict(frame), dict(weights))
        match macro.kind:
            case "map":
                return [loop.value() for element in elements if loop.enter(element)]
            case "filter":
                return [element for element in elements if loop.test(element)]
            case "all":
                return all(loop.test(element) for element in elements)
            case "exists":
                return any(loop.test(element) for element in elements)
            case _:
                return sum(loop.test(element) for element in elements) == 1

    def _matches(self, *arguments: object) -> object:
        if self.error is not None:
            return None
        try:
            return self._match(arguments)
        except CelError as error:
            self.error = error
            return None

    def _match(self, arguments: tuple[object, ...]) -> bool:
        if len(arguments) != 2 or not all(isinstance(a, str) for a in arguments):  # noqa: PLR2004
            raise CelError("matches() takes a text and a pattern")
        text, pattern = cast("tuple[str, str]", arguments)
        states = _states(pattern)
        self.charge(states * (10 + len(text.encode("utf-8", "replace")) // 4))
        try:
            return bool(_pattern_program().execute({"text": text, "pattern": pattern}))
        except Exception as error:
            raise CelError(f"{pattern[:80]!r} is not a regular expression that can be used here") from error


class _Loop:
    """One comprehension under way: its programs, bound once, and the element they see."""

    def __init__(self, evaluation: Evaluation, macro: Macro, frame: dict[str, object], weights: dict[str, int]) -> None:
        self._evaluation = evaluation
        self._macro = macro
        self._frame = frame
        self._weights = weights
        frame[macro.variable] = None
        self._body = evaluation.prepare(macro.body, frame, weights)
        self._where = evaluation.prepare(macro.where, frame, weights) if macro.where else None

    def _show(self, element: object) -> None:
        self._frame[self._macro.variable] = element
        self._weights[self._macro.variable] = weigh(element)
        for prepared in (self._body, self._where):
            if prepared is not None and self._macro.variable in prepared.program.mentions:
                prepared.context.add_variable(self._macro.variable, element)

    def enter(self, element: object) -> bool:
        """Show an element; return whether `map` takes it."""
        self._show(element)
        return self._where is None or self._boolean(self._where)

    def value(self) -> object:
        """Return what the body makes of the element."""
        result = self._evaluation.execute(self._body)
        self._evaluation.charge(2 * weigh(result))
        return result

    def test(self, element: object) -> bool:
        """Show an element; return whether the body holds for it."""
        self._show(element)
        return self._boolean(self._body)

    def _boolean(self, prepared: _Prepared) -> bool:
        result = self._evaluation.execute(prepared)
        if not isinstance(result, bool):
            raise CelError(f"the condition of .{self._macro.kind}() must be true or false, not {kind_of(result)}")
        return result


def search(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text; linear in both.

    Raises:
        CelError: It is no regular expression, or a large one.
    """
    _states(pattern)
    try:
        return bool(_pattern_program().execute({"text": text, "pattern": pattern}))
    except Exception as error:
        raise CelError(f"{pattern[:80]!r} is not a regular expression that can be used here") from error


@functools.cache
def _pattern_program() -> Any:
    return _binding().compile("text.matches(pattern)")


def _states(pattern: str) -> int:
    """Return an upper estimate of a pattern's size once its repetitions are written out."""
    if len(pattern) > 256:  # noqa: PLR2004
        raise CelError("a pattern has at most 256 characters")
    size = len(pattern) + 10 * pattern.count("[") + 60 * len(_CLASSES.findall(pattern)) + 1
    for number in re.findall(r"\{[^}]*?(\d+)\}", pattern):
        size *= max(1, int(number[:6]))
    return min(size, BUDGET)


def weigh(value: object) -> int:
    """Return the work of handing a value over: its nodes, and its text by 32 characters."""
    total = 0
    stack: list[object] = [value]
    while stack:
        node = stack.pop()
        total += 1
        if isinstance(node, str):
            total += len(node) >> 5
        elif isinstance(node, list):
            total += 2
            stack.extend(cast("list[object]", node))
        elif isinstance(node, dict):
            total += 2
            entries = cast("dict[str, object]", node)
            total += 3 * len(entries)
            stack.extend(entries.values())
    return total


def unfit(value: Json) -> str | None:
    """Return why CEL cannot hold a value, or None.

    Its numbers have 64 bits and its texts no lone surrogates; the binding converts by recursion, so nesting is bounded.
    """
    stack: list[tuple[Json, int]] = [(value, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_VALUE_DEPTH:
            return f"the value is nested more than {MAX_VALUE_DEPTH} levels deep and cannot be computed with"
        if isinstance(node, bool) or node is None or isinstance(node, float):
            continue
        if isinstance(node, int):
            if not -(2**63) <= node < 2**63:
                return "the number has more than 64 bits and cannot be computed with"
        elif isinstance(node, str):
            if not node.isascii() and not _is_unicode(node):
                return "the text holds half a character (a lone surrogate)"
        elif isinstance(node, list):
            stack.extend((item, depth + 1) for item in node)
        else:
            stack.extend((key, depth) for key in node)
            stack.extend((item, depth + 1) for item in node.values())
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_json(value: object) -> Json:
    """Return a result as JSON, keys in alphabetical order (the binding has none). Raises `CelError` for anything else."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise CelError(f"the result is {value}, which is not JSON")
    if isinstance(value, list):
        return [to_json(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value)
        if all(isinstance(key, str) for key in entries):
            return {key: to_json(entries[key]) for key in sorted(cast("dict[str, object]", value))}
        raise CelError("the keys of a mapping must be text")
    raise CelError(f"the result is {kind_of(value)}, which is not JSON", hint="write string(...)")


def kind_of(value: object) -> str:
    """Return what a value is, for messages."""
    names = {
        "NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number", "str": "a text", "list": "a list",
        "dict": "a mapping", "bytes": "bytes", "datetime": "a timestamp", "timedelta": "a duration",
    }  # fmt: skip
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def _translate(error: BaseException) -> CelError:
    text = str(error)
    undefined = _UNDEFINED.search(text)
    if undefined:
        name = undefined[1]
        return CelError(f"{name} cannot be used on this value", missing=name)
    match error:
        case ZeroDivisionError():
            return CelError("division by zero")
        case OverflowError():
            return CelError("a number left the range of 64 bits")
        case KeyError():
            return CelError(f"there is no key {text[:80]}")
        case IndexError():
            return CelError(text[:200])
        case TypeError():
            text = text.split(". ", maxsplit=1)[0]
            if "No such overload" in text:
                text = "an operation does not go with the types of these values"
            return CelError(text[:200], hint="convert with double(x), int(x) or string(x)")
        case RecursionError():
            return CelError("the value is nested too deeply")
        case _:
            return CelError(text.split(". Check ", maxsplit=1)[0][:200] or type(error).__name__)
