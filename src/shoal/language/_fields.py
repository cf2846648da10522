"""Reading the fields of a mapping by the table of keys, reporting what does not fit.

Every reader returns None (or the default) for a field that is missing or wrong; a wrong one is reported once, where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from shoal.language._document import Mapping, Node, Scalar, Sequence, describe
from shoal.language._keys import LATER, NAMED_VALUE, Table
from shoal.language._problems import Mark, Problems, suggest
from shoal.language.durations import parse_duration, parse_size
from shoal.model.ids import STEP_NAME

MAX_TEXT: Final = 10_000
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(slots=True)
class Fields:
    """The fields of one mapping.

    Attributes:
        node: The mapping.
        what: What it is, for messages (`step 'a'`).
    """

    node: Mapping
    what: str
    problems: Problems

    @classmethod
    def of(cls, node: Node, what: str, table: Table, problems: Problems) -> Fields | None:
        """Return the fields of a node, unknown and missing keys reported; None if it is no mapping."""
        if not isinstance(node, Mapping):
            problems.add(node.mark, f"{what} must be a mapping, not {describe(node)}")
            return None
        for key, (mark, _) in node.entries.items():
            if key in table:
                continue
            if key in LATER:
                problems.add(mark, f"{key!r} is not in this version")
            else:
                problems.add(mark, f"{what} has no key {key[:80]!r}", suggest(key, table))
        for key, spec in table.items():
            if spec.required and key not in node.entries:
                problems.add(node.mark, f"{what} needs the key {key!r}", spec.description)
        return cls(node, what, problems)

    def __contains__(self, key: str) -> bool:
        """Return whether a key is there."""
        return key in self.node.entries

    def get(self, key: str) -> Node | None:
        """Return the node of a key."""
        entry = self.node.entries.get(key)
        return entry[1] if entry else None

    def mark(self, key: str) -> Mark:
        """Return where a key stands; where the mapping stands if it is missing."""
        entry = self.node.entries.get(key)
        return entry[0] if entry else self.node.mark

    def wrong(self, key: str, expected: str, node: Node, hint: str | None = None) -> None:
        """Report a field of the wrong type or form."""
        self.problems.add(node.mark, f"`{key}` must be {expected}, not {describe(node)}", hint)

    def text(self, key: str) -> str | None:
        """Return a text."""
        node = self.get(key)
        if node is None:
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            number = isinstance(node, Scalar) and isinstance(node.value, (int, float))
            self.wrong(key, "text", node, "put it in quotes" if number else None)
            return None
        if len(node.value) > MAX_TEXT:
            self.problems.add(node.mark, f"`{key}` has more than {MAX_TEXT:,} characters")
            return None
        return node.value

    def boolean(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        node = self.get(key)
        if node is None:
            return default
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            word = isinstance(node, Scalar) and isinstance(node.value, str) and node.value.lower() in {"yes", "no", "on", "off"}
            self.wrong(key, "true or false", node, "in YAML 1.2 yes, no, on and off are text" if word else None)
            return default
        return node.value

    def number(self, key: str, low: float, high: float, *, whole: bool = False) -> float | None:
        """Return a number within bounds."""
        node = self.get(key)
        if node is None:
            return None
        return self.as_number(key, node, low, high, whole=whole)

    def as_number(self, key: str, node: Node, low: float, high: float, *, whole: bool = False) -> float | None:
        """Return the number that a node holds."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (whole and not isinstance(value, int)):
            self.wrong(key, "a whole number" if whole else "a number", node)
            return None
        if not low <= value <= high:
            self.problems.add(node.mark, f"`{key}` must lie between {low:g} and {high:g}")
            return None
        return value

    def count(self, key: str, high: int = 1_000_000) -> int | None:
        """Return a whole number of at least 1."""
        value = self.number(key, 1, high, whole=True)
        return None if value is None else int(value)

    def duration(self, key: str) -> timedelta | None:
        """Return a duration."""
        node = self.get(key)
        if node is None:
            return None
        try:
            return parse_duration(node.value if isinstance(node, Scalar) else None)
        except ValueError as error:
            self.wrong(key, "a duration", node, str(error))
            return None

    def size(self, key: str) -> int | None:
        """Return a number of bytes."""
        node = self.get(key)
        if node is None:
            return None
        try:
            return parse_size(node.value if isinstance(node, Scalar) else None)
        except ValueError as error:
            self.wrong(key, "a size", node, str(error))
            return None

    def choice(self, key: str, choices: Collection[str]) -> str | None:
        """Return one of a few words."""
        node = self.get(key)
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value in choices:
            return node.value
        word = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
        self.wrong(key, " or ".join(sorted(choices)), node, suggest(word, choices) if word else None)
        return None

    def texts(self, key: str, *, single: bool = False) -> list[Scalar] | None:
        """Return a list of texts; with `single` one text counts as a list of one."""
        node = self.get(key)
        if node is None:
            return None
        if single and isinstance(node, Scalar) and isinstance(node.value, str):
            return [node]
        if not isinstance(node, Sequence):
            hint = f"write [{node.value}]" if isinstance(node, Scalar) and isinstance(node.value, str) else None
            self.wrong(key, "a list", node, hint)
            return None
        kept: list[Scalar] = []
        for item in node.items:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                kept.append(item)
            else:
                self.problems.add(item.mark, f"`{key}` is a list of texts; this is {describe(item)}")
        return kept

    def inner(self, key: str, table: Table) -> Fields | None:
        """Return the fields of a mapping below a key."""
        node = self.get(key)
        if node is None:
            return None
        return Fields.of(node, f"`{key}`", table, self.problems)

    def list_of(self, key: str) -> list[Node]:
        """Return the items of a list."""
        node = self.get(key)
        if node is None:
            return []
        if isinstance(node, Sequence):
            return node.items
        self.wrong(key, "a list", node)
        return []


def named_values(
    node: Node, what: str, problems: Problems, table: Table = NAMED_VALUE
) -> Iterator[tuple[str, Mark, Node | None]]:
    """Yield name, place and value of the entries of `{name: value}` or `[{name, value}]`; None: no value is given."""
    if isinstance(node, Mapping):
        for key, (mark, value) in node.entries.items():
            yield key, mark, value
        return
    if not isinstance(node, Sequence):
        if not isinstance(node, Scalar) or node.value is not None:
            problems.add(node.mark, f"{what} must be a mapping or a list of {{name, value}}, not {describe(node)}")
        return
    seen: dict[str, Mark] = {}
    for item in node.items:
        fields = Fields.of(item, f"an entry of {what}", table, problems)
        name = fields.text("name") if fields else None
        if fields is None or name is None:
            continue
        if name in seen:
            problems.add(fields.mark("name"), f"{what} names {name!r} twice", f"it stands first in line {seen[name].line}")
            continue
        seen[name] = fields.mark("name")
        name_node = cast("Node", fields.get("name"))
        yield name, name_node.mark, fields.get("value")


def check_name(name: str, what: str, mark: Mark, problems: Problems) -> bool:
    """Report a name that no reference could hold; return whether it is fine."""
    if STEP_NAME.match(name) and len(name) <= 100:  # noqa: PLR2004
        return True
    problems.add(
        mark,
        f"{name[:80]!r} cannot be the name of {what}",
        "a name has letters, digits, _ and -, begins with a letter or _, and has at most 100 characters",
    )
    return False


def check_variable(name: str, mark: Mark, problems: Problems) -> bool:
    """Report a name that no environment variable has; return whether it is fine."""
    if _ENV_NAME.match(name):
        return True
    problems.add(mark, f"{name[:80]!r} cannot be the name of an environment variable", "use letters, digits and _")
    return False
