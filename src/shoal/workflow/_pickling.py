"""Arguments and results of tasks as bytes, with references of Ray and needs of a task taken out of them.

Owns the pickler and what its bytes call when they are read. An object reference is written as the value behind it, into a blob;
a node of a DAG as a need, which stands for the result of another step once it is there.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from ray.dag import DAGNode

from shoal.errors import NonRetryableError, NotFoundError
from shoal.model.encoding import decode, encode, value_from_json, value_to_json
from shoal.model.ids import Digest
from shoal.model.values import Value
from shoal.workflow._ray import ActorHandle, ObjectRef, cloudpickle, in_worker, ray

Put = Callable[[bytes], Digest]
Get = Callable[[Digest], bytes]
Node = Callable[[Any], tuple[Any, ...]]
"""Returns what pickle is to write in a node's place: `nested(number)`, or `itself(value)` for an input of the DAG."""


@dataclass(frozen=True, slots=True)
class _World:
    """What the bytes under way may ask for.

    Attributes:
        needs: The values of a task's needs, by number.
    """

    get: Get
    needs: Sequence[Value] = ()
    read: dict[int, Any] = field(default_factory=dict[int, Any])


_world: Final[ContextVar[_World]] = ContextVar("shoal_workflow_world")


class Packer:
    """Pickles by cloudpickle for one DAG or one result. Each object reference is written once, however often it occurs."""

    def __init__(self, put: Put) -> None:
        """Write large values with `put`."""
        self._put = put
        self._stored: dict[
            str, tuple[Any, dict[str, Any]]
        ] = {}  # with the reference: its number may come again once it is gone

    def dumps(self, thing: object, node: Node | None = None) -> bytes:
        """Return an object as bytes for `loads`.

        Args:
            thing: What to pickle.
            node: Says what stands for a node that the object holds; None: there may be none.

        Raises:
            NonRetryableError: It holds an actor handle, or a node where there may be none.
        """
        buffer = io.BytesIO()
        _Pickler(buffer, self, node).dump(thing)
        return buffer.getvalue()

    def stored(self, ref: Any) -> dict[str, Any]:
        """Return the recorded form of the value behind an object reference; durable on return."""
        known = self._stored.get(ref.hex())
        if known is None:
            known = (ref, value_to_json(encode(ray.get(ref), self._put, dumps=self.dumps)))
            self._stored[ref.hex()] = known
        return known[1]


class _Pickler(cloudpickle.Pickler):
    def __init__(self, buffer: io.BytesIO, packer: Packer, node: Node | None) -> None:
        super().__init__(buffer, protocol=5)  # pyright: ignore[reportUnknownMemberType]
        self._packer = packer
        self._node = node

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ObjectRef):
            return (_reference, (self._packer.stored(obj),))
        if isinstance(obj, DAGNode):
            if self._node is None:
                raise NonRetryableError(
                    "a DAG node can be neither a result nor a part of one", hint="return workflow.continuation(dag)"
                )
            return self._node(obj)
        if isinstance(obj, ActorHandle):
            raise NonRetryableError("an actor handle cannot be stored", hint="give the actor a name and look it up in the task")
        return super().reducer_override(obj)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


@dataclass(frozen=True, slots=True)
class Direct:
    """In the place of an argument that is itself a node or a reference: its value goes there, as with `.remote(...)`."""

    number: int | None = None
    value: dict[str, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_direct, (self.number, self.value))


def nested(number: int) -> tuple[Any, ...]:
    """Return what pickle writes for a node that lies deeper in an argument."""
    return (_nested, (number,))


def itself(value: object) -> tuple[Any, ...]:
    """Return what pickle writes for a node whose value is known already."""
    return (_same, (value,))


def _same(value: Any) -> Any:
    return value


def loads(data: bytes, get: Get, needs: Sequence[Value] = ()) -> Any:
    """Return what `Packer.dumps` was given, with its needs filled in. Runs user code: in workers, and in a user's program."""
    with reading(get, needs):
        return pickle.loads(data)  # noqa: S301 - see above


def decode_value(value: Value, get: Get) -> Any:
    """Return the object of a recorded value. Runs user code, as `loads` does."""
    with reading(get):
        return decode(value, get, trusted=True)


@contextmanager
def reading(get: Get, needs: Sequence[Value] = ()) -> Generator[None]:
    """Let bytes that are read in this block ask for blobs and needs."""
    token = _world.set(_World(get, needs))
    try:
        yield
    finally:
        _world.reset(token)


def _here() -> _World:
    try:
        return _world.get()
    except LookupError:
        raise NotFoundError(
            "this value holds object references, which only shoal.workflow reads", hint="use workflow.get_output"
        ) from None


def _direct(number: int | None, value: dict[str, Any] | None) -> Any:
    world = _here()
    if number is not None:
        if number not in world.read:
            world.read[number] = decode(world.needs[number], world.get, trusted=True)
        found = world.read[number]
        return ray.get(found) if isinstance(found, ObjectRef) else found
    return decode(value_from_json(value or {}), world.get, trusted=True)


def _nested(number: int) -> Any:
    """Return the reference that a nested node stands for, as in a DAG of Ray; outside of Ray's workers the value itself."""
    return _referred(_direct(number, None))


def _reference(value: dict[str, Any]) -> Any:
    return _referred(_direct(None, value))


def _referred(value: Any) -> Any:
    return ray.put(value) if in_worker() else value
