"""Random DAGs of Python tasks against plain Python as the oracle: sharing, nesting, continuations, failures, forks, restarts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal import workflow
from shoal.workflow import _api


@dataclass(frozen=True)
class Plan:
    """A node: what it does, and with what. `kids` are indices of earlier nodes, or constants."""

    kind: str
    kids: tuple
    number: int


class Oops(Exception):  # noqa: N818
    pass


@ray.remote
def combine(*parts, number=0):
    return number + sum(flat(parts))


@ray.remote
def later(*parts, number=0):
    """A continuation of a continuation, with a shared node in it."""
    first = combine.bind(*parts, number=number)
    if number % 3 == 0:
        return workflow.continuation(first)
    return workflow.continuation(combine.bind(first, [first], number=-2 * number))


@ray.remote
def failing(*parts, number=0):
    flat(parts)
    raise Oops(number)


@ray.remote
def judge(pair):
    value, error = pair
    return value if error is None else -error.args[0]


def flat(parts):
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from flat(part)
        elif isinstance(part, dict):
            yield from flat(part.values())
        else:
            yield part


KINDS = ("sum", "nested", "continued", "caught", "fails", "loose")


@st.composite
def plans(draw):
    count = draw(st.integers(1, 7))
    nodes = []
    for place in range(count):
        kind = draw(st.sampled_from(KINDS[:-2] if draw(st.integers(0, 3)) else KINDS))
        kids = tuple(draw(st.lists(st.integers(0, place - 1), max_size=3))) if place else ()
        nodes.append(Plan(kind, kids, draw(st.integers(-5, 5))))
    return nodes


def build(nodes):
    made = []
    for node in nodes:
        kids = [made[k] for k in node.kids]
        match node.kind:
            case "sum":
                made.append(combine.bind(*kids, number=node.number))
            case "nested":
                made.append(combine.bind(kids, {"a": kids[:1]}, number=node.number))
            case "continued":
                made.append(later.bind(*kids, number=node.number))
            case "loose":
                made.append(combine.options(**workflow.options(checkpoint=False)).bind(*kids, number=node.number))
            case "caught":
                task = failing if node.number % 2 else later
                caught = task.options(**workflow.options(catch_exceptions=True)).bind(*kids, number=node.number)
                made.append(judge.bind(caught))
            case "fails":
                made.append(failing.bind(*kids, number=node.number))
    return made[-1]


def expected(nodes, place=None):
    """Return the value of the last node; raises `Oops` if any node that it needs fails."""
    node = nodes[-1 if place is None else place]
    kids = [expected(nodes, k) for k in node.kids]
    total = node.number + sum(kids)
    doubled = total if node.number % 3 == 0 else 2 * total - 2 * node.number
    match node.kind:
        case "sum" | "loose":
            return total
        case "nested":
            return total + sum(kids[:1])
        case "continued":
            return doubled
        case "caught":
            return -node.number if node.number % 2 else doubled
        case _:
            raise Oops(node.number)


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    home = str(tmp_path_factory.mktemp("home"))
    workflow.shutdown()
    workflow.init(executor="inline", home=home)
    yield home
    workflow.shutdown()


def outcome(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except workflow.WorkflowExecutionError as error:
        assert error.__cause__.exception.endswith("Oops"), error  # noqa: PT017
        return "failed"
    except Oops:
        return "failed"


@given(plans())
@settings(max_examples=60)
def test_a_dag_has_the_value_of_plain_python(flows, nodes):
    assert outcome(workflow.run, build(nodes)) == outcome(expected, nodes)


@given(plans(), st.data())
@settings(max_examples=20)
def test_a_fork_from_any_task_has_the_same_value(flows, nodes, data):
    name = f"f{uuid.uuid4()}"
    value = outcome(workflow.run, build(nodes), workflow_id=name)
    assert value == outcome(expected, nodes)
    if value == "failed":
        return
    steps = workflow._current.session().portal.call(workflow._current.session().client.workflow(name)).steps
    first = data.draw(st.sampled_from([step.name for step in steps]))
    assert workflow.get_output(workflow.fork(name, first)) == value


@given(plans())
@settings(max_examples=8)
def test_a_dag_that_is_canceled_and_resumed_in_another_session_has_the_same_value(flows, nodes):
    value = outcome(expected, nodes)
    name = f"r{uuid.uuid4()}"
    _api.start(combine.bind(build(nodes), workflow.wait_for_signal("go")), (), {}, name, None)
    workflow.cancel(name)
    workflow.shutdown()
    workflow.init(executor="inline", home=flows)
    # Whether it failed or was canceled is a race, and all the same: what is recorded stays, the rest runs.
    assert workflow.get_status(name) in ("CANCELED", "FAILED")
    _api.take(workflow._current.session(), name)
    if value != "failed":
        workflow.signal(name, "go", 7)
    assert outcome(workflow.get_output, name) == ("failed" if value == "failed" else value + 7)
