"""Records to put into a store, for tests of stores and of what stands on them.

Owns short ways to make model values with everything that does not matter filled in.
"""

# ruff: noqa: A002 - a run has an id

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from shoal.model.ids import RunId, StepName, StepPath, WorkflowId, new_run_id, split_item
from shoal.model.run import Change, NewRun, Parent, RunBatch, RunSpec, StepChanged, StepRecord, StepStatus
from shoal.model.tools import ToolReference
from shoal.model.values import Json, Value
from shoal.model.workflow import CallTool, Step, Workflow

AT = datetime(2030, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
"""A time for changes."""

S = TypeVar("S")
P = ParamSpec("P")


def in_loop(test: Callable[Concatenate[S, P], Awaitable[None]]) -> Callable[Concatenate[S, P], None]:
    """Make an async test method one that pytest runs by itself, in an event loop of its own."""

    @functools.wraps(test)
    def run(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            await test(self, *args, **kwargs)

        asyncio.run(body())

    return run


def workflow(name: str = "flow") -> Workflow:
    """Return a workflow of one step."""
    step = Step(StepName("only"), CallTool(ToolReference("shell", "builtin", "shell")))
    return Workflow(WorkflowId(name), (step,))


def new_run(
    *, id: str | None = None, of: str = "flow", parent: NewRun | None = None, parked: bool = False, fingerprint: str = "here"
) -> NewRun:
    """Return a run to create: a root, or a child of another run's step `only`."""
    run_id = RunId(id) if id else new_run_id()
    return NewRun(
        run_id,
        RunSpec(workflow(of), fingerprint=fingerprint),
        parent.root_id if parent else run_id,
        Parent(parent.id, StepPath("only")) if parent else None,
        parked,
    )


def json_value(value: Json) -> Value:
    """Return a JSON value that stands inline."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Value("json", len(data), data=data)


def step(path: str, status: StepStatus = StepStatus.SUCCEEDED, **fields: Any) -> StepRecord:
    """Return a step's record."""
    item = split_item(StepPath(path))
    return StepRecord(StepPath(path), StepName((item[0] if item else path).partition("/")[0]), status, **fields)


def changed(path: str, status: StepStatus = StepStatus.SUCCEEDED, **fields: Any) -> StepChanged:
    """Return the change that records a step."""
    return StepChanged(step(path, status, **fields), AT)


def batch(run: NewRun, *changes: Change, epoch: int = 1) -> RunBatch:
    """Return a batch of a run's changes."""
    return RunBatch(run.id, run.root_id, epoch, changes)
