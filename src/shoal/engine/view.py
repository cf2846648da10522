"""What the references of a step stand for: the engine's side of the language's evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from shoal.engine.state import RunState, ScopeState, StepState
from shoal.errors import ExpressionError, InternalError
from shoal.model.encoding import fill
from shoal.model.ids import StepName
from shoal.model.run import StepStatus
from shoal.model.values import Arguments, Hole, Json, SecretName, SecretText, Value
from shoal.model.workflow import Constant


class StepView:
    """The names that a step (or the outputs of a scope) may refer to."""

    def __init__(self, run: RunState, scope: ScopeState, item: StepState | None = None) -> None:
        """Look at a scope; with `item`, from one of its steps, whose `item` and `index` it gives."""
        self._run = run
        self._scope = scope
        self._item = item

    @property
    def failed(self) -> bool:
        """Whether the scope has a step that failed for good."""
        return self._scope.failed is not None

    def load(self, value: Value) -> Json:
        """Return the JSON of a value."""
        return self._run.values.load(value)

    def items(self, value: Value) -> Sequence[Value]:
        """Return the values that a manifest lists."""
        return self._run.values.items(value)

    def get(self, root: tuple[str, ...]) -> Constant | Hole:
        """Return what the root of a reference stands for."""
        match root:
            case ("steps", name, *rest):
                return self._step(StepName(name), tuple(rest))
            case ("inputs",):
                return Constant(fill(self._scope.inputs, self._read))
            case ("inputs", name):
                return argument(self._scope.inputs, name, self._read)
            case ("context",):
                return Constant(self._run.spec.context)
            case ("run", "id"):
                return Constant(self._run.id)
            case ("item",):
                return self._item.item if self._item is not None and self._item.item is not None else Constant(None)
            case ("index",):
                return Constant(self._item.index if self._item is not None else None)
            case ("secrets", name):
                return SecretText((SecretName(name),))
            case _:
                raise InternalError(f"no such root of a reference: {root}")

    def _read(self, hole: Hole) -> Json:
        if isinstance(hole, SecretText):
            raise ExpressionError("a secret cannot be looked into")
        return self.load(hole)

    def _step(self, name: StepName, rest: tuple[str, ...]) -> Constant | Hole:
        state = self._scope.steps[name]
        match rest:
            case ("status",):
                return Constant(state.status.value)
            case ("error",):
                error = state.error
                return Constant({"code": error.code, "message": error.message} if error else None)
            case ("error", what):
                error = state.error
                return Constant((error.code if what == "code" else error.message) if error else None)
            case ("outputs",):
                if state.status is not StepStatus.SUCCEEDED:
                    return Constant(None)
                return Constant({key: self.load(value) for key, value in (state.result or {}).items()})
            case ("outputs", key):
                return self._output(state, key)
            case _:
                raise InternalError(f"no such reference to a step: {rest}")

    def _output(self, state: StepState, key: str) -> Constant | Hole:
        if state.status is not StepStatus.SUCCEEDED:
            return Constant(None)
        result = state.result or {}
        if key in result:
            return result[key]
        if state.is_loop and not (state.loop and len(state.loop.ended)) and not result:
            return Constant(cast("Json", []))
        there = ", ".join(sorted(result)[:10]) or "none"
        raise ExpressionError(f"step {state.step.name!r} returned no output {key!r}; its outputs: {there}")


def argument(arguments: Arguments, name: str, read: object) -> Constant | Hole:
    """Return one member of arguments whose root is a mapping: the hole itself if it is one, else its JSON.

    Args:
        arguments: The arguments.
        name: The member.
        read: Makes JSON of a hole that lies deeper.
    """
    tree = cast("dict[str, Json]", arguments.tree)
    deeper: list[tuple[tuple[str | int, ...], Hole]] = []
    for path, hole in arguments.holes:
        if path == (name,):
            return hole
        if path[0] == name:
            deeper.append((path[1:], hole))
    value = tree.get(name)
    if not deeper:
        return Constant(value)
    return Constant(fill(Arguments(value, tuple(deeper)), read))  # pyright: ignore[reportArgumentType]
