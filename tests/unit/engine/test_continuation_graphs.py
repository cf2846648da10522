"""Graphs that workers send as continuations are checked before they are opened: they come from where user code ran."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from properties.engine_driver import Driver
from shoal.engine.continuations import checked_graph
from shoal.errors import DefinitionError
from shoal.model.attempts import Continuation, Continued, Succeeded
from shoal.model.ids import StepName, WorkflowId
from shoal.model.run import RunStatus
from shoal.model.serial import to_json
from shoal.model.tools import TaskCode, ToolReference
from shoal.model.values import Arguments
from shoal.model.workflow import CallTool, Constant, InputSpec, ListOf, Reference, Step, Workflow

TASK = CallTool(ToolReference("f", "task", "m:f", code=TaskCode("m", "f")))
A, B = StepName("a"), StepName("b")
GOOD = Workflow(
    WorkflowId("w"),
    (
        Step(A, TASK),
        Step(B, TASK, (A,), inputs=(("needs", ListOf((Reference(("steps", "a", "outputs", "result"), text="a"),))),)),
    ),
)


def test_a_good_graph_comes_back_as_it_was():
    assert checked_graph(to_json(GOOD)) == GOOD


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Step(A, TASK), Step(A, TASK)),
        (Step(A, TASK, (B,)), Step(B, TASK)),
        (Step(A, TASK, (A,)),),
        (Step(A, TASK, (StepName("nowhere"),)),),
        (Step(A, TASK, inputs=(("x", Reference(("steps", "b", "outputs", "r"), text="b")),)), Step(B, TASK)),
    ],
)
def test_a_graph_that_is_none_is_refused(steps):
    with pytest.raises(DefinitionError):
        checked_graph(to_json(replace(GOOD, steps=steps)))


@pytest.mark.parametrize(
    "flow",
    [
        replace(GOOD, finally_steps=(Step(StepName("f"), TASK),)),
        replace(GOOD, inputs=(InputSpec("x"),)),
        replace(GOOD, outputs=()),
    ],
)
def test_a_graph_is_steps_and_nothing_else(flow):
    with pytest.raises(DefinitionError):
        checked_graph(to_json(flow))


@pytest.mark.parametrize(
    "target", [{}, {"id": "w", "steps": 3}, {"id": "w", "steps": [{"name": "a"}]}, to_json(replace(GOOD, steps=()))]
)
def test_a_step_that_answers_with_a_broken_graph_fails_and_nothing_else(target):
    flow = Workflow(WorkflowId("w"), (Step(A, TASK),))
    driver = Driver(flow, lambda _: Continued(Continuation(target, Arguments({}), form="model")), random.Random(1))
    driver.play()
    assert driver.status is RunStatus.FAILED


def test_a_graph_is_opened_in_the_place_of_its_step_and_its_last_step_makes_the_outputs():
    def answer(dispatch):
        if dispatch.path == "start":
            return Continued(Continuation(to_json(GOOD), Arguments({}), form="model"))
        return Succeeded({"result": driver.values.store([dispatch.path])})

    flow = Workflow(WorkflowId("w"), (Step(StepName("start"), TASK, inputs=(("x", Constant(1)),)),))
    driver = Driver(flow, answer, random.Random(1), crash_rate=0.3)
    driver.play()
    assert driver.status is RunStatus.SUCCEEDED
    assert {s.path for s in driver.started} == {"start", "start/1", "start/2"}
