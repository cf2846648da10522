"""Measures Python functions with radon, which parses them; nothing of what it reads is run or imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from radon.complexity import cc_visit
from radon.visitors import Class, Function

from complexity_meter._reading import UnreadableError, read_text

if TYPE_CHECKING:
    from shoal.tools import ToolContext

LARGEST_FILE = 1024 * 1024


def measure_complexity(
    root: str, files: list[str], group: str = "", max_bytes: int = LARGEST_FILE, context: ToolContext | None = None
) -> dict[str, Any]:
    """Measure the cyclomatic complexity (McCabe) of every function and method in Python files.

    A function counts 1, and 1 more for each branch, loop, condition of a comprehension, boolean operator, `except`,
    `assert` and case. A function inside a function counts by itself. Classes inside functions are not looked into.

    Args:
        root: The folder that the files are below.
        files: Their paths relative to `root`, with forward slashes.
        group: What to call them in the log.
        max_bytes: Size above which a file is not read.
        context: Given by Shoal; used to report progress.

    Returns:
        `complexity`: `{group, functions, not_parsed}`. `functions` is a list of `{path, line, name, complexity}` in the
        order of the files, `name` with its class; `not_parsed` lists `{path, reason}`.
    """
    functions: list[dict[str, Any]] = []
    not_parsed: list[dict[str, str]] = []
    for done, path in enumerate(files, 1):
        found, reason = _measure_file(root, path, max_bytes)
        functions += found
        if reason:
            not_parsed.append({"path": path, "reason": reason})
        if context is not None:
            context.progress(done, len(files))
    print(f"{group or root}: {len(functions)} functions in {len(files)} files, {len(not_parsed)} not parsed")
    return {"complexity": {"group": group, "functions": functions, "not_parsed": not_parsed}}


def _measure_file(root: str, path: str, max_bytes: int) -> tuple[list[dict[str, Any]], str]:
    """Return the functions of a file, or none and why it is not measured."""
    try:
        text = read_text(root, path, max_bytes)
    except UnreadableError as reason:
        return [], str(reason)
    try:
        return [{"path": path, **function} for function in measure_text(text)], ""
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [], f"{type(error).__name__}: {error}"[:200]


def measure_text(text: str) -> list[dict[str, Any]]:
    """Return line, name and complexity of every function in Python source, in the order of their lines.

    Raises:
        SyntaxError: It is not Python, or not this Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = cc_visit(text)
    found = [
        {"line": block.lineno, "name": name, "complexity": block.complexity}
        for name, block in _functions(b for b in blocks if isinstance(b, Class) or not b.is_method)
    ]
    return sorted(found, key=lambda function: (function["line"], function["name"]))


def _functions(blocks: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Function]]:
    for block in blocks:
        name = f"{prefix}{block.name}"
        if isinstance(block, Class):
            yield from _functions(block.methods, f"{name}.")
            yield from _functions(block.inner_classes, f"{name}.")
        else:
            yield name, block
            yield from _functions(block.closures, f"{name}.")
