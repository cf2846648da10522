"""The figures of a report, added up from what the other tools returned."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FOLDER_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Language:
    """The lines of one language; `prose` tells text from code."""

    name: str
    files: int
    code: int
    comment: int
    blank: int
    prose: bool = False

    @property
    def lines(self) -> int:
        """All lines."""
        return self.code + self.comment + self.blank


@dataclass(frozen=True, slots=True)
class Hotspot:
    """A Python file that changes often and is complex: `score` is commits times complexity."""

    path: str
    commits: int
    changed: int
    complexity: int
    code: int
    last: str

    @property
    def score(self) -> int:
        """Commits times the complexity of all of its functions."""
        return self.commits * self.complexity


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that a report tells.

    Attributes:
        files: Counted files as `{path, language, prose, code, comment, blank}`, the longest first.
        languages: The one with most code first, prose last.
        folders: Name, files and lines of code (without prose) of each folder down to `FOLDER_DEPTH`, most code first.
        functions: As `{path, line, name, complexity}`, the most complex first.
        hotspots: The highest score first; only files with a score.
        history: As `git-hotspots` returned it.
        binary: Paths of files that are not text.
        too_large: Paths of files that were too large to read.
        not_parsed: Python files that were not measured, as `{path, reason}`.
        missing: How many groups could not be counted or measured at all.
    """

    files: tuple[dict[str, Any], ...]
    languages: tuple[Language, ...]
    folders: tuple[tuple[str, int, int], ...]
    functions: tuple[dict[str, Any], ...]
    hotspots: tuple[Hotspot, ...]
    history: dict[str, Any]
    binary: tuple[str, ...]
    too_large: tuple[str, ...]
    not_parsed: tuple[dict[str, str], ...]
    missing: int

    @classmethod
    def of(
        cls, lines: list[dict[str, Any] | None], complexity: list[dict[str, Any] | None], history: dict[str, Any] | None
    ) -> Figures:
        """Add up what the tools returned; null stands for a group that failed."""
        counts = [group for group in lines if group is not None]
        measured = [group for group in complexity if group is not None]
        files = sorted(_joined(counts, "files"), key=lambda file: (-_length(file), file["path"]))
        functions = sorted(_joined(measured, "functions"), key=lambda f: (-f["complexity"], f["path"], f["line"]))
        history = history or {"commits": 0, "commit": None, "date": None, "files": [], "note": "the history could not be read"}
        return cls(
            files=tuple(files),
            languages=_languages(files),
            folders=_folders(files),
            functions=tuple(functions),
            hotspots=_hotspots(files, functions, history),
            history=history,
            binary=tuple(sorted(_joined(counts, "binary"))),
            too_large=tuple(sorted(_joined(counts, "too_large"))),
            not_parsed=tuple(sorted(_joined(measured, "not_parsed"), key=lambda entry: entry["path"])),
            missing=len(lines) - len(counts) + len(complexity) - len(measured),
        )

    def totals(self) -> dict[str, Any]:
        """Return the figures that sum the report up, as JSON; prose counts in `files` and `prose` alone."""
        code = [language for language in self.languages if not language.prose]
        worst = self.functions[0] if self.functions else None
        return {
            "files": len(self.files),
            "code_files": sum(language.files for language in code),
            "code": sum(language.code for language in code),
            "comment": sum(language.comment for language in code),
            "blank": sum(language.blank for language in code),
            "prose": sum(language.code for language in self.languages if language.prose),
            "languages": len(code),
            "functions": len(self.functions),
            "most_complex": worst and {
                "complexity": worst["complexity"], "name": worst["name"], "place": f"{worst['path']}:{worst['line']}"
            },
        }  # fmt: skip


def _joined(groups: Iterable[dict[str, Any]], key: str) -> list[Any]:
    return [entry for group in groups for entry in group[key]]


def _length(file: dict[str, Any]) -> int:
    return file["code"] + file["comment"] + file["blank"]


def _languages(files: list[dict[str, Any]]) -> tuple[Language, ...]:
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        sums[file["language"]].update({"files": 1, **{kind: file[kind] for kind in ("code", "comment", "blank")}})
    prose = {file["language"] for file in files if file["prose"]}
    found = (Language(name, c["files"], c["code"], c["comment"], c["blank"], name in prose) for name, c in sums.items())
    return tuple(sorted(found, key=lambda language: (language.prose, -language.code, language.name)))


def _folders(files: list[dict[str, Any]]) -> tuple[tuple[str, int, int], ...]:
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        folder = "/".join(file["path"].split("/")[:-1][:FOLDER_DEPTH]) or "."
        sums[folder].update({"files": 1, "code": 0 if file["prose"] else file["code"]})
    return tuple(sorted(((name, c["files"], c["code"]) for name, c in sums.items()), key=lambda f: (-f[2], f[0])))


def _hotspots(files: list[dict[str, Any]], functions: list[dict[str, Any]], history: dict[str, Any]) -> tuple[Hotspot, ...]:
    complexity: Counter[str] = Counter()
    for function in functions:
        complexity[function["path"]] += function["complexity"]
    code = {file["path"]: file["code"] for file in files}
    found = (
        Hotspot(f["path"], f["commits"], f["added"] + f["deleted"], complexity[f["path"]], code.get(f["path"], 0), f["last"])
        for f in history["files"]
        if complexity[f["path"]]
    )
    return tuple(sorted(found, key=lambda spot: (-spot.score, spot.path)))
