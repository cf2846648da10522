"""What ray.workflow did not have: forks, maps with a limit, live events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from shoal.errors import ConflictError, InvalidInputError
from shoal.model.encoding import encode
from shoal.model.events import Event
from shoal.model.ids import StepName
from shoal.model.values import Result
from shoal.workflow import _current
from shoal.workflow._api import begin, checked_id, exists
from shoal.workflow._nodes import MapNode
from shoal.workflow._pickling import Packer
from shoal.workflow.exceptions import TaskNotFoundError


def fork(workflow_id: str, from_task: str, edits: Mapping[str, Any] | None = None, *, new_id: str | None = None) -> str:
    """Start a new workflow that begins with what another has recorded, and runs a task and what follows it anew.

    The other workflow, of any status, stays as it is. Both share what is recorded; deleting one does not harm the other.

    Args:
        workflow_id: The workflow to fork.
        from_task: Id of a task of its DAG.
        edits: Values, by task id, that take the place of recorded ones.
        new_id: Id of the new workflow; by default a new one.

    Returns:
        The new id, for `get_output` and the like.

    Raises:
        WorkflowNotFoundError: There is no such workflow.
        TaskNotFoundError: Its DAG has no such task (a ValueError as well).
        ConflictError: It had not come to that task; or there is a workflow of the new id.
        InvalidInputError: A value is given for a task that runs anew.
    """
    session = _current.session(drives=True)
    old = session.portal.call(session.record(checked_id(workflow_id)))
    if new_id is not None:
        checked_id(new_id)
    flow = session.portal.call(session.client.workflow(old.id))
    names = {str(step.metadata.get("task_id", step.name)): step.name for step in flow.steps}
    names |= {str(step.name): step.name for step in flow.steps}

    def named(task_id: str) -> StepName:
        if task_id not in names:
            raise TaskNotFoundError(f"the DAG of workflow {old.id} has no task {task_id!r}", workflow_id=old.id)
        return names[task_id]

    put = session.client.blobs.put
    outputs: dict[str, Result] = {
        named(task_id): {"result": encode(value, put, dumps=Packer(put).dumps)} for task_id, value in (edits or {}).items()
    }
    new = session.portal.call(session.client.forked(old.id, named(from_task), outputs=outputs, new_id=new_id))
    if session.portal.call(exists(session, new.id)):
        raise ConflictError(f"there is a workflow {new_id} already")
    begin(session, new)
    return new.id


def map(task: Any, items: Any, *, max_concurrency: int | None = None) -> MapNode:  # noqa: A001 - it is what it is called
    """Return a node whose value is the list of a task's values, one for each item, so many at a time.

    Each item is recorded and retried by itself, so a crash in the middle costs only what was under way.

    Args:
        task: A remote function of one argument, or what its `.options(...)` returned.
        items: A list of any values; or a node whose value is a list of JSON, or that is a map itself.
        max_concurrency: Items at a time; None: twice as many as the cluster carries at once.

    Raises:
        InvalidInputError: It is nothing that can be mapped.
    """
    if max_concurrency is not None and (not isinstance(max_concurrency, int) or max_concurrency < 1):
        raise InvalidInputError(f"max_concurrency is a number from 1 on, or None; not {max_concurrency!r}")
    several = isinstance(items, Iterable) and not isinstance(items, (str, bytes))
    listed: object = list(cast("Iterable[object]", items)) if several else cast("object", items)
    return MapNode(task.bind(), listed, max_concurrency)


async def events(workflow_id: str, *, after: int = 0, follow: bool = True) -> AsyncIterator[Event]:
    """Yield the events of a workflow in their order, until it has ended; with `follow=False` those so far.

    Args:
        workflow_id: Which.
        after: Only those with a higher `seq`: to go on where another reader stopped.
        follow: Whether to wait for more.

    Raises:
        WorkflowNotFoundError: There is none.
    """
    session = _current.session()
    run_id = checked_id(workflow_id)
    await asyncio.wrap_future(session.portal.begin(session.record(run_id)))
    source = session.client.events(run_id, after=after, follow=follow)

    async def following() -> Event | None:
        return await anext(source, None)

    while (event := await asyncio.wrap_future(session.portal.begin(following()))) is not None:
        yield event
