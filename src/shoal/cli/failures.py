"""Errors as the user meets them.

Owns the one place that turns an exception into text on stderr (or JSON on stdout) and an exit status. No traceback of ours
reaches a user who did not ask for it.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from shoal.cli.terminal import emit_json, note, plain
from shoal.config import environment
from shoal.errors import DefinitionError, InternalError, Problem, ShoalError, StepFailedError

INTERRUPTED = 130
_EXCERPT_LIMIT = 1_000_000
_MOST_PROBLEMS = 50


def report(error: Exception, *, as_json: bool, run_id: str | None = None) -> int:
    """Tell the user of an error and return the exit status.

    Args:
        error: What ended the command.
        as_json: Whether stdout gets `{"error": ...}`; stderr gets the text in any case.
        run_id: The run it is about, if there is one.
    """
    known = error if isinstance(error, ShoalError) else _unexpected(error)
    if as_json:
        emit_json(({"run_id": run_id} if run_id else {}) | {"error": error_object(known)})
    for line in lines_of(known):
        note(line)
    if environment().get("SHOAL_LOG_LEVEL", "").lower() == "debug":
        note("".join(traceback.format_exception(error)).rstrip())
    return known.exit_status


def error_object(error: ShoalError) -> dict[str, Any]:
    """Return the JSON of an error as the command line shows it."""
    return error.to_json()


def lines_of(error: ShoalError) -> list[str]:
    """Return the text that tells a person of an error."""
    if isinstance(error, InternalError):
        return [
            f"shoal: internal error: {_first_line(error.message)}",
            (
                "  This is a defect of Shoal. Please report it with the output of `shoal doctor`; "
                "SHOAL_LOG_LEVEL=debug shows the traceback."
            ),
        ]
    if isinstance(error, DefinitionError) and error.problems:
        return _problem_lines(error)
    lines = [f"shoal: {plain(error.message)}"]
    if isinstance(error, StepFailedError) and error.traceback and error.traceback.strip() != error.message.strip():
        lines += ["  " + line for line in plain(error.traceback).rstrip().splitlines()]
    if error.hint:
        lines.append(f"  hint: {plain(error.hint)}")
    return lines


def _unexpected(error: Exception) -> InternalError:
    return InternalError(f"{type(error).__name__}: {error}")


def _first_line(text: str) -> str:
    return plain(text).strip().partition("\n")[0]


def _problem_lines(error: DefinitionError) -> list[str]:
    lines: list[str] = []
    sources: dict[str, list[str]] = {}
    for problem in error.problems[:_MOST_PROBLEMS]:
        where = (
            f"{problem.file}:{problem.line}:{problem.column}: " if problem.line else f"{problem.file}: " if problem.file else ""
        )
        lines.append(f"{plain(where)}{plain(problem.message)}")
        lines += _excerpt(problem, sources)
        if problem.hint:
            lines.append(f"  hint: {plain(problem.hint)}")
    count = len(error.problems)
    if count > _MOST_PROBLEMS:
        lines.append(f"... and {count - _MOST_PROBLEMS} more; --json lists all")
    lines.append(f"shoal: {count} {'problem' if count == 1 else 'problems'}; nothing was started")
    return lines


def _excerpt(problem: Problem, sources: dict[str, list[str]]) -> list[str]:
    if not problem.file or not problem.line:
        return []
    if problem.file not in sources:
        sources[problem.file] = _source(Path(problem.file))
    source = sources[problem.file]
    if problem.line > len(source):
        return []
    text = plain(source[problem.line - 1].rstrip()).replace("\t", " ")
    if not text or len(text) > 200:  # noqa: PLR2004 - a longer line would hide the caret
        return []
    caret = " " * max(problem.column - 1, 0) + "^"
    return [f"  {problem.line:>4} | {text}", f"       | {caret}"] if problem.column else [f"  {problem.line:>4} | {text}"]


def _source(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _EXCERPT_LIMIT:
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
