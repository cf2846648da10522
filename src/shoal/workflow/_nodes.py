"""Nodes of a DAG that stand for an event."""

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
