"""A `.bind()` DAG as a workflow of the engine.

Owns the translation: each node becomes a step, once, however often it is shared; what its arguments need of other steps goes as
references, the rest of them as one recorded value. Everything that a graph names is durable before it is returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from ray.dag import DAGNode

from shoal.errors import InvalidInputError, UnsupportedError
from shoal.model.encoding import encode, encode_manifest
from shoal.model.ids import Digest, StepName, WorkflowId
from shoal.model.policies import Isolation, Resources, RetryPolicy
from shoal.model.tools import TaskCode, ToolReference
from shoal.model.values import INLINE_LIMIT, Json, Value
from shoal.model.workflow import Action, CallTool, Constant, ListOf, Recorded, Reference, Step, Template, Workflow
from shoal.workflow._code import starts_ray_work, take_code
from shoal.workflow._nodes import EventNode, MapNode, handed_on
from shoal.workflow._options import TaskOptions, read_options
from shoal.workflow._pickling import Direct, Packer, itself, nested
from shoal.workflow._ray import DAGInputData, FunctionNode, InputAttributeNode, InputNode, ObjectRef

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_NOTHING: Final = object()
_ENDLESS: Final = 1_000_000
_NODES: Final = (FunctionNode, EventNode, MapNode)

Put = Callable[[bytes], Digest]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a DAG with an `InputNode` is run with."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.args or self.kwargs)

    def whole(self) -> Any:
        """Return what the input node itself stands for."""
        if not self.given:
            raise InvalidInputError("the DAG has an InputNode, and was given no input", hint="workflow.run(dag, value)")
        return self.args[0] if len(self.args) == 1 and not self.kwargs else DAGInputData(*self.args, **self.kwargs)

    def part(self, node: Any) -> Any:
        """Return what `inp[0]`, `inp["key"]` or `inp.name` stands for."""
        whole, key = self.whole(), node.key
        if isinstance(whole, DAGInputData) or node._accessor_method == "__getitem__":  # noqa: SLF001 - Ray has no public way
            return whole[key]
        return getattr(whole, key)


def build_graph(
    dag: Any, put: Put, *, inputs: Inputs | None = None, metadata: Mapping[str, Json] | None = None, catch: bool = False
) -> Workflow:
    """Return a DAG as a workflow.

    Args:
        dag: Its last node, whose value is the run's.
        put: Writes a blob durably.
        inputs: For its `InputNode`.
        metadata: Of the run.
        catch: Whether its last node catches exceptions, whatever it says itself.

    Raises:
        UnsupportedError: It has something that this version does not have.
        InvalidInputError: It is no DAG of remote functions, or its inputs do not fit.
        NonRetryableError: Something of it cannot be pickled.
    """
    if not isinstance(dag, _NODES):
        _refuse(dag)
    if catch and isinstance(dag, EventNode):
        dag = FunctionNode(handed_on, (dag,), {}, {})  # what makes a pair is a task
    builder = _Builder(put, inputs or Inputs())
    steps = builder.build(dag, catch=catch)
    if inputs is not None and inputs.given and not builder.used_inputs:
        raise InvalidInputError("the DAG was given inputs, and has no InputNode that would take them")
    name = steps[-1].name.strip("_-").lower().replace("_", "-")
    flow_id = re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "-", name)).strip("-") or "dag"
    return Workflow(WorkflowId(flow_id), steps, metadata=dict(metadata or {}))


def _refuse(node: object) -> None:
    kind = type(node).__name__
    if isinstance(node, DAGNode):
        raise UnsupportedError(
            f"a {kind} is not in this version: a workflow is made of remote functions",
            hint="look an actor up by its name in a function",
        )
    raise InvalidInputError(f"a workflow is a DAG such as task.bind(...), not a {kind}")


class _Builder:
    """Makes the steps of one DAG. Without recursion: a chain of nodes may be long."""

    def __init__(self, put: Put, inputs: Inputs) -> None:
        self._put = put
        self._inputs = inputs
        self._packer = Packer(put)
        self._codes: dict[int, TaskCode] = {}
        self._names: dict[str, int] = {}
        self._step_of: dict[int, StepName] = {}
        self._steps: list[Step] = []
        self.used_inputs = False

    def build(self, dag: Any, *, catch: bool) -> tuple[Step, ...]:
        """Return the steps, each after those that it needs, the DAG's own last."""
        waiting: list[tuple[Any, _Call | None]] = [(dag, None)]
        while waiting:
            node, call = waiting.pop()
            if id(node) in self._step_of:
                continue
            if call is None:
                call = self._read(node)
                waiting.append((node, call))
                waiting += [(n, None) for n in reversed(call.needs) if id(n) not in self._step_of]
                continue
            for step in self._make(node, call, catch=catch and node is dag):
                self._steps.append(step)
                self._step_of[id(node)] = step.name
        return tuple(self._steps)

    def _read(self, node: Any) -> _Call:
        """Return a node's arguments as bytes, and the nodes that they need."""
        if not isinstance(node, _NODES):
            _refuse(node)
        needs: list[Any] = []
        numbers: dict[int, int] = {}

        def number(other: Any) -> int:
            if id(other) not in numbers:
                numbers[id(other)] = len(needs)
                needs.append(other)
            return numbers[id(other)]

        def deeper(other: Any) -> tuple[Any, ...]:
            found = self._input(other)
            return nested(number(other)) if found is _NOTHING else itself(found)

        def at_top(value: Any) -> Any:
            found = self._input(value)
            value = value if found is _NOTHING else found
            if isinstance(value, DAGNode):
                return Direct(number=number(value))
            return Direct(value=self._packer.stored(value)) if isinstance(value, ObjectRef) else value

        args = tuple(at_top(a) for a in node.get_args())
        kwargs = {name: at_top(a) for name, a in node.get_kwargs().items()}
        return _Call(args, kwargs, self._packer.dumps((args, kwargs), deeper), needs)

    def _input(self, node: Any) -> Any:
        if isinstance(node, InputNode):
            self.used_inputs = True
            return self._inputs.whole()
        if isinstance(node, InputAttributeNode):
            self.used_inputs = True
            return self._inputs.part(node)
        return _NOTHING

    def _make(self, node: Any, call: _Call, *, catch: bool) -> Iterable[Step]:
        needs = tuple(self._step_of[id(n)] for n in call.needs)
        if isinstance(node, EventNode):
            yield from node.steps(EventParts(self, call, needs, node.name))
            return
        if isinstance(node, MapNode):
            yield self._map(node, call, needs, catch=catch)
            return
        function: Any = node._body  # noqa: SLF001 - Ray has no public way
        given = read_options(function, node.get_options())
        yield self.task(function, given, call.data, needs, catch=catch or given.catch)

    def _map(self, node: MapNode, call: _Call, needs: tuple[StepName, ...], *, catch: bool) -> Step:
        """Return the loop of a map: each item is the one need of a call."""
        task: Any = node.task
        given = read_options(task._body, task.get_options())  # noqa: SLF001 - Ray has no public way
        data = self.pack(((Direct(number=0),), dict[str, Any]()))
        step = self.task(task._body, given, data, (), catch=catch or given.catch)  # noqa: SLF001 - Ray has no public way
        (items,) = call.args
        if isinstance(items, Direct) and items.number is not None:
            source: Template = _reference_to(needs[items.number])
        elif needs or not isinstance(items, list):
            raise InvalidInputError("a map takes a list of values, or one node whose value is a list")
        else:
            listed = cast("list[object]", items)
            values = [encode(item, self._put, dumps=self._packer.dumps) for item in listed]
            source = Recorded(encode_manifest(values, self._put))
        inputs = tuple((k, ListOf((Reference(("item",), text="item"),)) if k == "needs" else v) for k, v in step.inputs)
        return replace(
            step, needs=tuple(dict.fromkeys(needs)), inputs=inputs, foreach=source, concurrency=node.limit, outputs=("result",)
        )

    def task(
        self, function: Any, given: TaskOptions, data: bytes, needs: Sequence[StepName], *, catch: bool = False, mode: str = ""
    ) -> Step:
        """Return the step that calls a function, or in a mode a listener's class."""
        task_id = given.task_id or str(function.__name__)
        extra = (("catch", Constant(True)),) if catch else ()
        if mode:
            extra = (*extra, ("mode", Constant(mode)))
        isolation = Isolation.TASK if starts_ray_work(function) else Isolation.POOL
        return Step(
            name=self.unique(task_id),
            action=CallTool(self._reference(function), given.requirements),
            needs=tuple(dict.fromkeys(needs)),
            inputs=(("call", Recorded(self._recorded(data))), ("needs", _references(needs)), *extra),
            env=tuple((name, Constant(value)) for name, value in given.env),
            isolation=Isolation.SHARED if mode == "poll" else isolation,
            resources=given.resources,
            retry=given.retry,
            timeout=given.timeout,
            checkpoint=given.checkpoint,
            catch=catch,
            metadata={"task_id": task_id, "user": given.metadata, "options": given.told},
        )

    def pack(self, value: object) -> bytes:
        """Return arguments as bytes, with no nodes in them but `Direct` ones."""
        return self._packer.dumps(value)

    def _reference(self, function: Any) -> ToolReference:
        code = self._codes.get(id(function))
        if code is None:
            code = self._codes[id(function)] = take_code(function, self._packer.dumps, self._put)
        return ToolReference(code.name, "task", f"{code.module}:{code.name}", code=code)

    def _recorded(self, data: bytes) -> Value:
        if len(data) <= INLINE_LIMIT:
            return Value("pickle", len(data), data=data, type_name="arguments")
        return Value("pickle", len(data), digest=self._put(data), type_name="arguments")

    def unique(self, task_id: str) -> StepName:
        """Return a name for a step: the task's id, with `_1`, `_2`, ... where it is taken."""
        base = step_name(task_id)
        name = base
        while name in self._names:
            self._names[base] += 1
            name = f"{base}_{self._names[base]}"
        self._names[name] = 0
        return StepName(name)


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of a node.

    Attributes:
        data: Of arguments and keyword arguments, as bytes.
        needs: The nodes that they need, by the numbers in the bytes.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    data: bytes
    needs: list[Any]


@dataclass(frozen=True, slots=True)
class EventParts:
    """What an event makes its steps of."""

    builder: _Builder
    call: _Call
    needs: tuple[StepName, ...]
    task_id: str

    def template(self, value: Any) -> Template:
        """Return an argument as a template: a JSON value, or the result of another step."""
        if isinstance(value, Direct) and value.number is not None:
            return _reference_to(self.needs[value.number])
        return Constant(cast("Json", value))

    def step(self, action: Callable[[StepName], Action]) -> Step:
        """Return a step that waits by itself, without a worker; its action is made of its name."""
        name, needs = self.builder.unique(self.task_id), tuple(dict.fromkeys(self.needs))
        return Step(name, action(name), needs, outputs=("result",), metadata={"task_id": self.task_id})

    def listening(self, listener: type, *, commits: bool) -> Iterable[Step]:
        """Return the step that polls a listener, and the one that tells it that its event is recorded."""
        retry = RetryPolicy(max_attempts=1, worker_lost=_ENDLESS, out_of_memory=_ENDLESS, jitter=False, explicit=True)
        given = TaskOptions(self.task_id, resources=Resources(cpus=0), retry=retry)
        polling = self.builder.task(listener, given, self.call.data, self.needs, mode="poll")
        yield polling
        if commits:
            given = TaskOptions(f"{self.task_id}_checkpointed", retry=RetryPolicy(max_attempts=1, explicit=True))
            data = self.builder.pack(((Direct(number=0),), dict[str, Any]()))
            yield self.builder.task(listener, given, data, (polling.name,), mode="committed")


def step_name(task_id: str) -> str:
    """Return a task's id as the name of a step: letters, digits, `_` and `-`."""
    name = _NOT_IN_NAMES.sub("-", task_id)
    return name if name[0].isalpha() or name[0] == "_" else f"_{name}"


def _references(names: Iterable[StepName]) -> Template:
    return ListOf(tuple(_reference_to(name) for name in names))


def _reference_to(name: StepName) -> Reference:
    return Reference(("steps", name, "outputs", "result"), text=f"steps.{name}.outputs.result")
