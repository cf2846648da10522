"""Nodes of a DAG that Ray does not have: events, and maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ray.dag import DAGNode

from shoal.errors import UnsupportedError

if TYPE_CHECKING:
    from shoal.model.workflow import Step
    from shoal.workflow._graph import EventParts


class EventNode(DAGNode):
    """A node that ends when something happens."""

    def __init__(
        self,
        name: str,
        steps: Callable[[EventParts], Iterable[Step]],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a node.

        Args:
            name: What its step is called.
            steps: Makes its steps; the last one's value is the node's.
            args: May hold nodes.
            kwargs: Likewise.
        """
        super().__init__(args, dict(kwargs or {}), {}, other_args_to_resolve={})
        self.name = name
        self.steps = steps

    def _copy_impl(self, new_args: Any, new_kwargs: Any, new_options: Any, new_other_args_to_resolve: Any) -> EventNode:  # noqa: ARG002 - Ray's signature
        return EventNode(self.name, self.steps, tuple(new_args), new_kwargs)

    def _execute_impl(self, *_args: Any, **_kwargs: Any) -> Any:
        raise UnsupportedError("an event is waited for by a workflow", hint="use workflow.run(dag), not dag.execute()")


class MapNode(DAGNode):
    """A node that calls a task for each item of a list."""

    def __init__(self, task: Any, items: Any, limit: int | None) -> None:
        """Make a node.

        Args:
            task: A node of the task, without arguments.
            items: A list, or a node.
            limit: Items at a time.
        """
        super().__init__((items,), {}, {}, other_args_to_resolve={})
        self.task = task
        self.limit = limit

    def _copy_impl(self, new_args: Any, new_kwargs: Any, new_options: Any, new_other_args_to_resolve: Any) -> MapNode:  # noqa: ARG002 - Ray's signature
        return MapNode(self.task, new_args[0], self.limit)

    def _execute_impl(self, *_args: Any, **_kwargs: Any) -> Any:
        raise UnsupportedError("a map is a part of a workflow", hint="use workflow.run(dag), not dag.execute()")


def handed_on(value: Any) -> Any:
    """Return a value as it is: the task that stands after an event where a task is needed."""
    return value
