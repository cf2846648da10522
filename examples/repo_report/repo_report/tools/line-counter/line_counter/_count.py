"""Counts the lines of files. Reads files as text; never runs or imports what it reads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pygments.lexer import Lexer
from pygments.lexers import find_lexer_class_for_filename
from pygments.token import Comment, String
from tabulate import tabulate

from line_counter._reading import UnreadableError, read_text

if TYPE_CHECKING:
    from shoal.tools import ToolContext

LARGEST_FILE = 1024 * 1024
PROSE = frozenset({"Markdown", "reStructuredText", "Text only", "Other text"})
"""Languages whose lines are not code. `Other text` are files of no known language."""


def count_lines(
    root: str, files: list[str], group: str = "", max_bytes: int = LARGEST_FILE, context: ToolContext | None = None
) -> dict[str, Any]:
    """Count the lines of files.

    A line is *code* if anything but white space and comments stands on it, else *comment* if a comment or a docstring
    does, else *blank*. A file that is not UTF-8 text counts as binary, one above `max_bytes` as too large; neither has lines.

    Args:
        root: The folder that the files are below.
        files: Their paths relative to `root`, with forward slashes.
        group: What to call them in the log.
        max_bytes: Size above which a file is not read.
        context: Given by Shoal; used to report progress.

    Returns:
        `counts`: `{group, files, binary, too_large, gone}`, where `files` is a list of
        `{path, language, prose, code, comment, blank}` in the order given and the others are lists of paths. `prose` tells
        text from code; the lines of prose are in `code` all the same.
    """
    counted: list[dict[str, Any]] = []
    unread: dict[str, list[str]] = {"binary": [], "too_large": [], "gone": []}
    for done, path in enumerate(files, 1):
        try:
            text = read_text(root, path, max_bytes)
        except UnreadableError as reason:
            unread[str(reason)].append(path)
        else:
            counted.append({"path": path, **count_text(path, text)})
        if context is not None:
            context.progress(done, len(files))
    print(_table(group, counted))
    return {"counts": {"group": group, "files": counted, **unread}}


def count_text(path: str, text: str) -> dict[str, Any]:
    """Return the language of a file, told by its name, and how many lines of code, comment and blank lines it has."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = find_lexer_class_for_filename(path.rpartition("/")[2])
    lexer = found(stripnl=False, ensurenl=False) if found else None
    kinds = _kinds_by_lexer(lexer, text) if lexer else _kinds_without(text)
    count = Counter(kinds)
    language = lexer.name if lexer else "Other text"
    return {
        "language": language,
        "prose": language in PROSE,
        "code": count["code"],
        "comment": count["comment"],
        "blank": count["blank"],
    }


def _kinds_by_lexer(lexer: Lexer, text: str) -> list[str]:
    """Return the kind of each line; as without a lexer where the lexer fails or loses text."""
    plain = _kinds_without(text)
    kinds = ["blank"] * len(plain)
    line = 0
    try:
        for token, value in lexer.get_tokens(text):
            kind = "comment" if _is_comment(token) else "code"
            for i, part in enumerate(value.split("\n")):
                line += i > 0
                if part.strip() and kinds[line] != "code":
                    kinds[line] = kind
    except Exception:  # noqa: BLE001 - lexers of five hundred languages fail in as many ways; the lines still count
        return plain
    whole = line == text.count("\n")
    return kinds if whole else plain


def _is_comment(token: Any) -> bool:
    """Return whether a token is a comment or a docstring; `#include` and its like are code though called comments."""
    return (token in Comment and token not in Comment.Preproc and token not in Comment.PreprocFile) or token in String.Doc


def _kinds_without(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return ["code" if line.strip() else "blank" for line in lines]


def _table(group: str, counted: list[dict[str, Any]]) -> str:
    total: dict[str, Counter[str]] = {}
    for file in counted:
        count = total.setdefault(file["language"], Counter())
        count.update({"files": 1, "code": file["code"], "comment": file["comment"], "blank": file["blank"]})
    rows = [[name, c["files"], c["code"], c["comment"], c["blank"]] for name, c in sorted(total.items())]
    return tabulate(rows, headers=[group or "language", "files", "code", "comment", "blank"], tablefmt="rounded_outline")
