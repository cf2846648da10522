"""Collecting everything that is wrong with a definition, with positions and hints.

Owns the wording of hints of the form "did you mean". Must not stop at the first problem.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from shoal.errors import DefinitionError, Problem

MAX_PROBLEMS = 100
"""Problems that are reported of one definition; a file that is no workflow at all would list thousands."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a definition.

    Attributes:
        file: As the caller named it.
        line: From 1; 0: the definition came from no text.
        column: From 1; 0 likewise.
        where: Path of the node (`steps[2].tool`), told instead of a position where there is none.
    """

    file: str
    line: int = 0
    column: int = 0
    where: str = ""


@dataclass(slots=True)
class Problems:
    """The problems found so far."""

    found: list[Problem] = field(default_factory=list[Problem])

    def add(self, mark: Mark, message: str, hint: str | None = None) -> None:
        """Record a problem; the same message at the same place is recorded once."""
        text = message if mark.line or not mark.where else f"{mark.where}: {message}"
        problem = Problem(text, mark.file, mark.line, mark.column, hint)
        if problem not in self.found:
            self.found.append(problem)

    def check(self) -> None:
        """Raise `DefinitionError` with every problem, if there is any; at most `MAX_PROBLEMS` of them."""
        if not self.found:
            return
        kept = self.found[:MAX_PROBLEMS]
        if len(self.found) > len(kept):
            last = kept[-1]
            kept.append(Problem(f"and {len(self.found) - len(kept)} more problems", last.file, last.line, last.column))
        raise DefinitionError.of(kept)


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the nearest known word, or all of them where they are few and none is near."""
    choices = sorted(set(known))
    near = difflib.get_close_matches(word[:100], choices, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if choices and len(choices) <= 8:  # noqa: PLR2004 - what a person takes in at a glance
        return f"there is {', '.join(choices)}"
    return None
