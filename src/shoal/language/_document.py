"""YAML text to a tree whose every node knows its place.

Owns reading files, the YAML 1.2 core schema and the bounds: bytes, nesting, nodes after aliases are followed. Builds the tree
from parser events, so that a bound is met before memory is spent. Knows nothing of workflows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from shoal.errors import DefinitionError, Problem
from shoal.language._problems import Mark, Problems
from shoal.model.values import Json

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
MAX_DIGITS: Final = 1000

_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_WORDS: Final[dict[str, Json]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(slots=True)
class Scalar:
    """A leaf.

    Attributes:
        value: Its JSON value.
        mark: Its place.
        style: `plain`, `quoted` or `block`; tells how columns inside of it are counted.
    """

    value: Json
    mark: Mark
    style: str = "plain"
    size: int = 1

    def place(self, offset: int) -> Mark:
        """Return the place of a character of a text: exact in one line, else the line at least for a literal block."""
        text = cast("str", self.value)
        if not self.mark.line:
            return self.mark
        before = text[:offset]
        if self.style == "block":
            return Mark(self.mark.file, self.mark.line + 1 + before.count("\n"), 1)
        if "\n" in text:
            return self.mark
        return Mark(self.mark.file, self.mark.line, self.mark.column + offset + (self.style == "quoted"))


@dataclass(slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    mark: Mark
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """A mapping with text keys, in the order of the file.

    Attributes:
        entries: Key, place of the key, value.
    """

    entries: dict[str, tuple[Mark, Node]]
    mark: Mark
    size: int = 1


Node = Scalar | Sequence | Mapping


def describe(node: Node) -> str:
    """Return what a node is, for messages."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool()):
            return f"{str(node.value).lower()} (a boolean)"
        case Scalar(value=str()):
            text = cast("str", node.value)
            return f"the text {text[:40]!r}"
        case _:
            return f"the number {str(node.value)[:40]}"


def to_json(node: Node) -> Json:
    """Return the JSON value of a tree."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [to_json(item) for item in node.items]
        case Mapping():
            return {key: to_json(value) for key, (_, value) in node.entries.items()}


def read_text(path: Path, file: str) -> str:
    """Return a file's text; a file of more than `MAX_BYTES` is refused without being read.

    Raises:
        DefinitionError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        if not path.is_file():
            raise _refusal(file, "there is no such file" if not path.exists() else "this is not a file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refusal(file, f"the file cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise _refusal(file, "the file is larger than 1 MiB", "a workflow is a definition; pass data as inputs or files")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DefinitionError.of([Problem("the file is not UTF-8 text", file, line, 1, "save it as UTF-8")]) from error


def _refusal(file: str, message: str, hint: str | None = None) -> DefinitionError:
    return DefinitionError.of([Problem(message, file, 1, 1, hint)])


def parse(text: str, file: str, problems: Problems) -> Node | None:
    """Return the tree of a YAML text; None if it could not be read, and then `problems` says why.

    Duplicate keys, tags and values that are not JSON are reported and left out; what is left of the tree is returned.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        problems.add(Mark(file, 1, 1), "the definition is larger than 1 MiB")
        return None
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError

    builder = _Builder(file, problems)
    try:
        reader = cast("Any", YAML(typ="safe", pure=True))
        return builder.build(reader.parse(text))
    except _StopReadingError:
        return None
    except MarkedYAMLError as error:
        told = cast("Any", error)
        mark = told.problem_mark or told.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(str(part) for part in (told.context, told.problem) if part)
        problems.add(Mark(file, line, column), f"broken YAML: {what}", _yaml_hint(what))
    except (YAMLError, YAMLStreamError, ValueError, IndexError, AssertionError, NotImplementedError, TypeError) as error:
        first = (str(error).splitlines() or ["it cannot be read"])[0]
        problems.add(Mark(file, 1, 1), f"broken YAML: {first[:200]}")
    except RecursionError:
        problems.add(Mark(file, 1, 1), "broken YAML: it is nested too deeply")
    return None


def _yaml_hint(what: str) -> str | None:
    if "'\\t'" in what:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in what:
        return "put a text that holds a colon in quotes"
    if "found unhashable" in what or "flow mapping" in what:
        return "put a text that starts with {{ in quotes"
    return None


class _StopReadingError(Exception):
    """A bound was met; the problem is recorded."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not seen yet."""

    node: Sequence | Mapping
    anchor: str | None
    key: Scalar | None = None
    where: str = ""


@dataclass(slots=True)
class _Builder:
    """Builds the tree from parser events, iteratively."""

    file: str
    problems: Problems
    stack: list[_Open] = field(default_factory=list[_Open])
    anchors: dict[str, Node] = field(default_factory=dict[str, Node])
    nodes: int = 0
    root: Node | None = None

    def build(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            kind = type(event).__name__
            mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self._stop(mark, "a file holds one workflow; here a second document starts")
            elif kind == "ScalarEvent":
                self._take(self._scalar(event, mark), event.anchor)
            elif kind == "AliasEvent":
                self._alias(event, mark)
            elif kind in {"SequenceStartEvent", "MappingStartEvent"}:
                self._open(event, mark, Sequence([], mark) if kind == "SequenceStartEvent" else Mapping({}, mark))
            elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
                self._close()
        return self.root

    def _stop(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.problems.add(mark, message, hint)
        raise _StopReadingError

    def _count(self, mark: Mark, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self._stop(mark, f"the definition has more than {MAX_NODES:,} values, aliases followed")

    def _check_tag(self, event: Any, mark: Mark) -> None:
        if event.tag is not None and str(event.tag) not in {"", "!"}:
            self.problems.add(mark, f"tags such as {str(event.tag)[:60]!r} are not part of the language", "leave the tag out")

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        self._check_tag(event, mark)
        self._count(mark, 1)
        text = cast("str", event.value)
        if event.style in {"'", '"'}:
            return Scalar(text, mark, "quoted")
        if event.style in {"|", ">"}:
            return Scalar(text, mark, "block")
        if _NOT_FINITE.match(text):
            self.problems.add(mark, f"{text} is not a JSON value", "put it in quotes if text is meant")
            return Scalar(None, mark)
        try:
            return Scalar(plain_value(text), mark)
        except ValueError:
            self.problems.add(mark, "the number is too large", "put it in quotes if text is meant")
            return Scalar(None, mark)

    def _alias(self, event: Any, mark: Mark) -> None:
        target = self.anchors.get(event.anchor)
        if target is None:
            self._stop(mark, f"the alias *{event.anchor} stands for nothing that was complete before it")
            return
        self._count(mark, target.size)
        self._take(target, None)

    def _open(self, event: Any, mark: Mark, node: Sequence | Mapping) -> None:
        self._check_tag(event, mark)
        self._count(mark, 1)
        if len(self.stack) >= MAX_DEPTH:
            self._stop(mark, f"the definition is nested more than {MAX_DEPTH} levels deep")
        self.stack.append(_Open(node, event.anchor))

    def _close(self) -> None:
        done = self.stack.pop()
        self._take(done.node, done.anchor)

    def _take(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.node.size += node.size
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
        elif top.key is None:
            top.key = node if isinstance(node, Scalar) else Scalar(None, node.mark)
            if not isinstance(top.key.value, str):
                self.problems.add(node.mark, f"a key must be text, not {describe(node)}", "put it in quotes")
                top.key = Scalar(f"\0{len(top.node.entries)}", node.mark)
        else:
            self._enter(top, node)

    def _enter(self, top: _Open, node: Node) -> None:
        entries = cast("Mapping", top.node).entries
        name = cast("Scalar", top.key)
        key, mark = cast("str", name.value), name.mark
        top.key = None
        if key.startswith("\0"):
            return
        first = entries.get(key)
        if first is not None:
            self.problems.add(mark, f"the key {key!r} stands here twice", f"it stands first in line {first[0].line}")
            return
        entries[key] = (mark, node)


def plain_value(text: str) -> Json:
    """Return what a plain scalar means in the YAML 1.2 core schema. Raises `ValueError` for a number beyond all bounds."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if len(text) > MAX_DIGITS and (_INT.match(text) or _FLOAT.match(text)):
        raise ValueError(text)
    if _INT.match(text):
        return int(text)
    if _OCTAL.match(text):
        return int(text, 0)
    if _HEX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        return number
    return text


def from_data(data: object, file: str, problems: Problems) -> Node | None:
    """Return the tree of a JSON value that came from no text; None if it is none, and then `problems` says why."""
    count = 0

    def convert(value: object, where: str, depth: int) -> Node:
        nonlocal count
        count += 1
        mark = Mark(file, where=where)
        if depth > MAX_DEPTH or count > MAX_NODES:
            problems.add(Mark(file), "the definition is too large or nested too deeply")
            raise _StopReadingError
        if isinstance(value, dict):
            entries: dict[str, tuple[Mark, Node]] = {}
            for key, item in cast("dict[object, object]", value).items():
                if not isinstance(key, str):
                    problems.add(mark, f"a key must be text, not {key!r}"[:200])
                    continue
                inner = f"{where}.{key}" if where else key
                entries[key] = (Mark(file, where=inner), convert(item, inner, depth + 1))
            return Mapping(entries, mark)
        if isinstance(value, (list, tuple)):
            items = cast("list[object]", value)
            return Sequence([convert(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(items)], mark)
        if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
            return Scalar(value, mark)
        problems.add(mark, f"a value of type {type(value).__qualname__} is not JSON")
        return Scalar(None, mark)

    try:
        return convert(data, "", 0)
    except _StopReadingError:
        return None
