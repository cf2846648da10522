"""Ray as this package uses it: without its types, many of which are missing or wrong."""

from __future__ import annotations

from typing import Any

import ray as _ray
import ray.actor as _actor
import ray.cloudpickle as _cloudpickle
import ray.dag as _dag
import ray.dag.input_node as _input_node
import ray.exceptions as _exceptions

ray: Any = _ray
cloudpickle: Any = _cloudpickle
ObjectRef: Any = ray.ObjectRef
ActorHandle: Any = getattr(_actor, "ActorHandle")  # noqa: B009 - see above
FunctionNode: Any = _dag.FunctionNode
InputNode: Any = _dag.InputNode
InputAttributeNode: Any = _dag.InputAttributeNode
DAGInputData: Any = _input_node.DAGInputData
RayTaskError: Any = _exceptions.RayTaskError


def in_worker() -> bool:
    """Return whether this is a worker of Ray; a driver, whose threads carry inline attempts, is none."""
    return ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE
