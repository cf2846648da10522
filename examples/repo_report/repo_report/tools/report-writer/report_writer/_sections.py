"""The text of a report. Every name that comes from the source tree is escaped: it can make no Markdown of its own."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from report_writer._figures import Figures

ROWS = 15
BANDS = (("1 to 5, simple", 1, 5), ("6 to 10", 6, 10), ("11 to 20, look twice", 11, 20), ("above 20, hard to test", 21, None))


def write_sections(figures: Figures, title: str, *, charts: frozenset[str]) -> str:
    """Return the report as Markdown (GitHub's dialect)."""
    sections = [
        _summary(figures, title),
        _languages(figures, charts),
        _folders(figures),
        _largest(figures),
        _complex(figures),
        _hotspots(figures, charts),
        _changed(figures),
        _left_out(figures),
        _notes(figures),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _summary(figures: Figures, title: str) -> str:
    totals = figures.totals()
    parts = [
        f"**{totals['code']:,}** lines of code in **{totals['code_files']:,}** files of **{totals['languages']}** languages",
        f"**{totals['functions']:,}** Python functions",
    ]
    if figures.history["commit"]:
        parts.append(f"commit {_code(figures.history['commit'][:10])} of {figures.history['date']}")
    return f"# Report on {_plain(title)}\n\n" + " · ".join(parts)


def _languages(figures: Figures, charts: frozenset[str]) -> str:
    totals = figures.totals()
    sums = [totals[key] for key in ("code_files", "code", "comment", "blank")]
    rows: list[list[str | int]] = [
        [_plain(entry.name), entry.files, entry.code, entry.comment, entry.blank, _share(entry.comment, entry.code)]
        for entry in figures.languages
        if not entry.prose
    ]
    rows.append(["**All code**", *(f"**{value:,}**" for value in sums), f"**{_share(totals['comment'], totals['code'])}**"])
    rows += [[f"*{_plain(e.name)}*", e.files, e.code, e.comment, e.blank, ""] for e in figures.languages if e.prose]
    image = "![Lines by language](languages.svg)\n\n" if "languages.svg" in charts else ""
    return f"## Lines by language\n\n{image}{_table(['Language', 'Files', 'Code', 'Comment', 'Blank', 'Comments'], rows)}"


def _folders(figures: Figures) -> str:
    if len(figures.folders) < 2:  # noqa: PLR2004 - one folder says nothing that the total does not say
        return ""
    rows: list[list[str | int]] = [[_code(name), files, code] for name, files, code in figures.folders[:ROWS]]
    return f"## Lines by folder\n\n{_table(['Folder', 'Files', 'Code'], rows)}{_more(figures.folders)}"


def _largest(figures: Figures) -> str:
    files = [file for file in figures.files if not file["prose"]][:ROWS]
    rows = [[_code(f["path"]), _plain(f["language"]), f["code"] + f["comment"] + f["blank"], f["code"]] for f in files]
    return f"## Largest files\n\n{_table(['File', 'Language', 'Lines', 'Code'], rows, texts=2)}" if rows else ""


def _complex(figures: Figures) -> str:
    if not figures.functions:
        return ""
    bands = [
        [name, sum(1 for f in figures.functions if low <= f["complexity"] and (high is None or f["complexity"] <= high))]
        for name, low, high in BANDS
    ]
    rows = [[_code(f["name"]), f["complexity"], _code(f"{f['path']}:{f['line']}")] for f in figures.functions[:ROWS]]
    return (
        f"## Most complex functions\n\n{_table(['Cyclomatic complexity', 'Functions'], bands)}\n\n"
        + _table(["Function", "Complexity", "Where"], rows, left=(2,))
        + _more(figures.functions)
    )


def _hotspots(figures: Figures, charts: frozenset[str]) -> str:
    if not figures.hotspots:
        return ""
    rows = [[_code(s.path), s.commits, s.complexity, s.score, s.code, s.last] for s in figures.hotspots[:ROWS]]
    image = "![Hotspots](hotspots.svg)\n\n" if "hotspots.svg" in charts else ""
    return (
        "## Hotspots\n\nPython files that change often *and* are complex: the score is commits times complexity. "
        f"Here a clean-up pays first.\n\n{image}"
        + _table(["File", "Commits", "Complexity", "Score", "Code", "Last change"], rows)
        + _more(figures.hotspots)
    )


def _changed(figures: Figures) -> str:
    history = figures.history
    if not history["files"]:
        return f"## Changed most often\n\nNo history: {_plain(history['note'])}." if history["note"] else ""
    rows = [[_code(f["path"]), f["commits"], f["added"], f["deleted"], f["authors"]] for f in history["files"][:ROWS]]
    note = f" Note: {_plain(history['note'])}." if history["note"] else ""
    return (
        f"## Changed most often\n\n{_count(history['commits'], 'commit')} read, merges left out.{note}\n\n"
        + _table(["File", "Commits", "Lines added", "Lines deleted", "Authors"], rows)
        + _more(history["files"])
    )


def _left_out(figures: Figures) -> str:
    lines: list[str] = []
    if figures.missing:
        lines.append(f"- **{_count(figures.missing, 'group')} of files could not be examined; the figures above lack them.**")
    if figures.binary:
        lines.append(f"- {_count(len(figures.binary), 'file')} not of UTF-8 text: {_some(figures.binary)}")
    if figures.too_large:
        lines.append(f"- {_count(len(figures.too_large), 'file')} too large to read: {_some(figures.too_large)}")
    if figures.not_parsed:
        lines.append(
            f"- {_count(len(figures.not_parsed), 'Python file')} not measured: {_some([e['path'] for e in figures.not_parsed])}"
        )
    return "## Left out\n\n" + "\n".join(lines) if lines else ""


def _notes(figures: Figures) -> str:
    notes = [
        "A line is code if anything but white space and comments stands on it; docstrings are comments.",
        "Comments are given in relation to code. *Prose* stands below the sum, its lines in the column of code.",
    ]
    if figures.functions:
        notes.append("Complexity is McCabe's cyclomatic complexity as radon counts it; of a file, the sum over its functions.")
    return "---\n\n" + " ".join(notes)


def _table(heads: list[str], rows: list[list[str | int]], *, texts: int = 1, left: tuple[int, ...] = ()) -> str:
    """Return a table whose first `texts` columns, and those in `left`, are set left, the others right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    align = ["left" if i < texts or i in left else "right" for i in range(len(heads))]
    return tabulate(cells, headers=heads, tablefmt="pipe", colalign=align, disable_numparse=True)


def _more(entries: Sequence[object]) -> str:
    return f"\n\nand {len(entries) - ROWS:,} more." if len(entries) > ROWS else ""


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(_code(path) for path in paths[:5])
    return f"{shown}, ..." if len(paths) > 5 else shown  # noqa: PLR2004 - enough to get the idea


def _plain(text: str) -> str:
    """Return text in which nothing is Markdown."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+-.!|~&" and c not in ".-()+" else c for c in _printable(text))


def _code(text: str) -> str:
    """Return text as a code span that may stand in a table."""
    text = _printable(text).replace("|", "\\|")
    return f"`{text}`" if "`" not in text else f"`` {text} ``" if "``" not in text else _plain(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
