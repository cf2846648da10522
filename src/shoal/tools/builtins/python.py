"""The built-in `python`: the body of a function that stands literally in the workflow."""

from __future__ import annotations

import ast
import hashlib
import linecache
from typing import Any, cast

from shoal.errors import NonRetryableError


def python(code: str, **values: Any) -> Any:
    """Run code as the body of a function whose keyword arguments are the step's other inputs; `return` gives the result.

    The code is compiled anew for each attempt, and runs with all that the worker's environment can import.

    Args:
        code: Literal text; values come in as arguments, never by templating.
        **values: Names that the code sees.
    """
    file = f"<code {hashlib.sha256(code.encode()).hexdigest()[:8]}>"
    try:
        module = ast.parse(code, file)
        shape = ast.parse("def step(): pass")
        function = cast("ast.FunctionDef", shape.body[0])
        function.args.kwonlyargs = [ast.arg(name) for name in values]
        function.args.kw_defaults = [None] * len(values)
        function.body = module.body or function.body
        compiled = compile(ast.fix_missing_locations(shape), file, "exec")
    except (SyntaxError, ValueError) as error:
        raise NonRetryableError(f"python: the code does not compile: {error}") from None
    bad = [name for name in values if not name.isidentifier()]
    if bad:
        raise NonRetryableError(f"python: input {bad[0]!r} cannot be the name of an argument")
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)  # so that a traceback shows its lines
    space: dict[str, Any] = {"__name__": "step"}
    exec(compiled, space)  # noqa: S102 - it stands literally in a workflow whose policy allows this tool
    return space["step"](**values)
