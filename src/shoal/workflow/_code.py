"""The code of tasks: taken from a program, and found again in a worker.

Owns what is pickled by value (functions of `__main__` and such as no name leads to) and what is imported by name and compared
with its source. Only `load_code` unpickles, and it is called in workers.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

from shoal.errors import NonRetryableError, TaskCodeChangedError, ToolResolutionError
from shoal.model.ids import Digest
from shoal.model.serial import from_json, to_json
from shoal.model.tools import TaskCode
from shoal.workflow._ray import cloudpickle

_MARK: Final = "__shoal_code__"
"""Where a worker notes on a function what it was loaded from: the same function is the same code, however often it is bound.

Without it, pickling anew what was unpickled would give other bytes each time (cloudpickle does not promise the same ones), and
an unrolled loop would write a blob a turn.
"""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

Put = Callable[[bytes], Digest]
Get = Callable[[Digest], bytes]


def take_code(thing: Any, dumps: Callable[[object], bytes], put: Put) -> TaskCode:
    """Return the code of a function or class; its bytes are durable on return.

    Args:
        thing: What is to be called.
        dumps: Pickles by value what no name leads to.
        put: Writes a blob.

    Raises:
        NonRetryableError: It cannot be pickled.
    """
    marked = getattr(thing, "__dict__", {}).get(_MARK)
    if marked is not None:
        return from_json(TaskCode, marked)
    module, name = str(thing.__module__), str(thing.__qualname__)
    source, folders = source_hash(thing), own_folders()
    version = str(getattr(cloudpickle, "__version__", ""))
    if _is_importable(thing, module, name):
        return TaskCode(module, name, source, None, PYTHON, version, folders)
    try:
        data = dumps(thing)
    except NonRetryableError:
        raise
    except Exception as error:
        raise NonRetryableError(
            f"the task {name} cannot be stored: {error}",
            hint="it is pickled with what it refers to; open files, locks and connections do not pickle",
        ) from error
    return TaskCode(module, name, source, put(data), PYTHON, version, folders)


def load_code(code: TaskCode, get: Get, *, check: bool) -> Any:
    """Return the function or class of a code; in a worker.

    Args:
        code: What is wanted.
        get: Reads a blob.
        check: Whether its source must be what it was.

    Raises:
        TaskCodeChangedError: It is not what it was, or was pickled under another Python.
        ToolResolutionError: There is no such module or function here.
    """
    _make_findable(code)
    if code.blob is None:
        found = _by_name(code)
        if check and code.source and source_hash(found) != code.source:
            raise TaskCodeChangedError(
                f"the task {code.module}.{code.name} is no longer the one that the run was started with",
                hint="resume with accept_code_change=True to go on with what is there now, or start a new run",
            )
        return found
    if code.python != PYTHON:
        raise TaskCodeChangedError(
            f"the task {code.name} was stored under Python {code.python}, and this worker has {PYTHON}",
            hint="go on under that Python, or start a new run",
        )
    found = pickle.loads(get(code.blob))  # noqa: S301 - a worker: it is there to run this code
    if isinstance(found, FunctionType):
        found.__dict__[_MARK] = to_json(code)
    return found


def _is_importable(thing: Any, module: str, name: str) -> bool:
    if module == "__main__" or "<" in name or module in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing or getattr(found, "_function", None) is thing


def _by_name(code: TaskCode) -> Any:
    try:
        found: Any = importlib.import_module(code.module)
    except ModuleNotFoundError as error:
        if error.name is not None and (code.module == error.name or code.module.startswith(f"{error.name}.")):
            raise ToolResolutionError(
                f"there is no module {error.name!r} on this worker, and the task {code.module}.{code.name} is in it",
                hint=f"its program looked in {', '.join(code.folders) or 'installed packages only'}",
            ) from None
        raise
    for part in code.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise TaskCodeChangedError(f"the module {code.module!r} has no {code.name!r} any more") from None
    return getattr(found, "_function", found)


def _make_findable(code: TaskCode) -> None:
    """Put the folders of a task's program last on the path, where they are there and not on it."""
    missing = [folder for folder in code.folders if folder not in sys.path and Path(folder).is_dir()]
    if missing:
        sys.path.extend(missing)
        importlib.invalidate_caches()


def own_folders() -> tuple[str, ...]:
    """Return the folders of this process's path that hold no installed packages: those of the program itself."""
    installed = tuple(str(Path(prefix).resolve()) + os.sep for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix})
    found: dict[str, None] = {}
    for entry in sys.path:
        path = Path(entry or os.curdir).resolve()
        if path.is_dir() and not f"{path}{os.sep}".startswith(installed) and path.name != "site-packages":
            found[str(path)] = None
    return tuple(found)


def source_hash(thing: Any) -> str:
    """Return the SHA-256 of a function's or class's source; of its byte code where no source is to be had."""
    try:
        return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return hashlib.sha256(_bytes_of(code)).hexdigest() if isinstance(code, CodeType) else ""


def _bytes_of(code: CodeType) -> bytes:
    constants = b"".join(_bytes_of(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts)
    return code.co_code + constants + repr(code.co_names).encode()


def starts_ray_work(function: Any) -> bool:
    """Whether a function calls `.remote`, or one that it names does: such a task must not wait for it on a warm worker."""
    seen: set[int] = set()
    queue: list[Any] = [function]
    while queue:
        found = queue.pop()
        if not isinstance(found, FunctionType) or id(found) in seen:
            continue
        seen.add(id(found))
        for code in _codes(found.__code__):
            if "remote" in code.co_names:
                return True
            near = (found.__globals__.get(name) for name in code.co_names)
            queue += [f for f in near if isinstance(f, FunctionType) and f.__module__ == found.__module__]
    return False


def _codes(code: CodeType) -> list[CodeType]:
    return [code, *(inner for c in code.co_consts if isinstance(c, CodeType) for inner in _codes(c))]
