"""The calls that wait, for programs with an event loop: `await workflow.aio.run(dag)`. The loop is free meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from shoal.model.values import Json
from shoal.workflow import _api, _current, _management
from shoal.workflow._more import events

__all__ = ["cancel", "events", "get_output", "resume", "run"]


async def run(
    dag: Any, *args: Any, workflow_id: str | None = None, metadata: Mapping[str, Json] | None = None, **kwargs: Any
) -> Any:
    """Run a DAG durably, and return its value, as `workflow.run` does. Cancelling the caller does not cancel the workflow."""
    _current.session(drives=True)  # in this thread, which may be the main one: a local Ray ends with the thread that starts it
    return await asyncio.to_thread(_api.run, dag, *args, workflow_id=workflow_id, metadata=metadata, **kwargs)


async def resume(workflow_id: str, *, accept_code_change: bool = False) -> Any:
    """Resume a workflow, and return its value, as `workflow.resume` does."""
    _current.session(drives=True)
    return await asyncio.to_thread(_management.resume, workflow_id, accept_code_change=accept_code_change)


async def get_output(workflow_id: str, *, task_id: str | None = None) -> Any:
    """Return the value of a workflow or task once it is there, as `workflow.get_output` does."""
    return await asyncio.to_thread(_management.get_output, workflow_id, task_id=task_id)


async def cancel(workflow_id: str) -> None:
    """Cancel a workflow, as `workflow.cancel` does."""
    await asyncio.to_thread(_management.cancel, workflow_id)
