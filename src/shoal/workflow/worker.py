"""Tasks in a worker: from a lock to something that can be called. User code is unpickled here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ray.dag import DAGNode

from shoal.errors import NonRetryableError, ToolResolutionError
from shoal.model.encoding import json_bytes
from shoal.model.ids import Digest
from shoal.model.serial import to_json
from shoal.model.tools import ToolLock, ToolOptions
from shoal.model.values import Json, Value
from shoal.ports import BlobStore
from shoal.tools.continuation import MoreGraph
from shoal.tools.loader import LoadedTool
from shoal.tools.signature import Signature
from shoal.workflow._code import load_code
from shoal.workflow._graph import build_graph
from shoal.workflow._pickling import Packer, loads
from shoal.workflow._ray import ObjectRef, ray

_ANYTHING: Final = Signature(open=True)


@dataclass(frozen=True, slots=True)
class MoreTasks:
    """What `workflow.continuation` returns in a task, and what the task in turn must return as it is."""

    dag: Any


def load_task(lock: ToolLock, blobs: BlobStore) -> LoadedTool:
    """Return the task of a lock, ready to be called.

    Raises:
        TaskCodeChangedError: It is not what it was.
        ToolResolutionError: It cannot be found here.
        BaseException: What its module raises when it is imported, or its bytes when they are read.
    """
    code = lock.request.reference.code
    if code is None:
        raise ToolResolutionError(f"the lock of task {lock.target} has no code")
    found = load_code(code, blobs.get, check=lock.record_hash is not None)
    task = _Task(found, blobs)
    return LoadedTool(lock.target, task, _ANYTHING, ToolOptions(), dumps=lambda value: Packer(blobs.put).dumps(value))


class _Task:
    """Calls a task with what its step holds."""

    def __init__(self, found: Any, blobs: BlobStore) -> None:
        self._found = found
        self._blobs = blobs

    def __call__(self, *, call: Value, needs: Sequence[object], catch: bool = False, mode: str = "") -> Any:
        """Return the task's value; with `catch` the pair of it and None; for a listener what it waits for, to be awaited."""
        data = call.data if call.data is not None else self._blobs.get(cast("Digest", call.digest))
        args, kwargs = loads(data, self._blobs.get, [_value(n) for n in needs])
        if mode == "poll":
            return self._found().poll_for_event(*args, **kwargs)
        if mode == "committed":
            return _commit(self._found, args[0])
        answer = self._found(*args, **kwargs)
        if isinstance(answer, MoreTasks):
            dag = answer.dag
            return MoreGraph(lambda: cast("dict[str, Json]", to_json(build_graph(dag, self._blobs.put, catch=catch))))
        if isinstance(answer, DAGNode):
            raise NonRetryableError("a task cannot return a DAG node", hint="return workflow.continuation(dag)")
        if isinstance(answer, ObjectRef):
            answer = ray.get(answer)
        return (answer, None) if catch else answer


async def _commit(listener: Any, event: Any) -> Any:
    await listener().event_checkpointed(event)
    return event


def _value(need: object) -> Value:
    if isinstance(need, Value):
        return need
    data = json_bytes(cast("Json", need))
    return Value("json", len(data), data=data)
