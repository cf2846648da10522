"""Long runs: time linear, memory flat; poison; many takeovers."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc

import pytest

from properties.engine_driver import Driver, returns
from shoal import continuation
from shoal.engine.decider import WINDOW
from shoal.engine.state import LoopState, ScopeState, StepState
from shoal.model.attempts import Continuation, Continued
from shoal.model.ids import StepName, WorkflowId
from shoal.model.run import RunStatus
from shoal.model.tools import ToolReference
from shoal.model.values import Arguments
from shoal.model.workflow import CallTool, Constant, Step, Workflow
from shoal.testing.workbench import Workbench

TOOL = CallTool(ToolReference("json:dumps", "function", "json:dumps"))


def engine_growth(workflow: Workflow, behaviour, steps: int) -> float:
    """Return how many bytes an engine grew by between a tenth of its inputs and all of them; the store is not counted."""
    driver = Driver(workflow, lambda d: behaviour(driver, d), random.Random(1))
    sizes: list[int] = []

    async def play() -> None:
        from shoal.model.ids import new_owner_id
        from shoal.model.run import NewRun, RunSpec

        _, lease = await driver.store.create(NewRun(driver.run_id, RunSpec(workflow), driver.run_id), owner=new_owner_id())
        driver.epoch = lease.epoch
        await driver.take_up(automatic=False)
        for number in range(steps):
            if number in (steps // 10, steps - 2):
                gc.collect()
                states = sum(isinstance(thing, StepState | ScopeState | LoopState) for thing in gc.get_objects())
                sizes.append(states)
            await driver.one()

    asyncio.run(play())
    return sizes[1] - sizes[0]


def test_a_chain_of_continuations_leaves_nothing_behind_in_the_engine():
    def more(driver, dispatch):
        return Continued(Continuation("json:dumps", Arguments({"obj": 1})))

    flow = Workflow(WorkflowId("w"), (Step(StepName("a"), TOOL),))
    assert engine_growth(flow, more, 2_000) <= 10


def test_the_items_of_a_loop_leave_nothing_behind_in_the_engine():
    flow = Workflow(WorkflowId("w"), (Step(StepName("a"), TOOL, foreach=Constant(list(range(3_000))), concurrency=4),))
    assert engine_growth(flow, lambda driver, d: returns(driver.values, v=1), 2_900) <= 10


@pytest.mark.parametrize("depth", [1_000])
def test_a_loop_unrolled_into_continuations_goes_through_the_orchestrator(depth):
    def count(n):
        return {"done": True} if n == 0 else continuation("count", {"n": n - 1})

    async def main():
        async with Workbench({"count": count}) as bench:
            text = f"id: t\nsteps: [{{name: a, tool: count, inputs: {{n: {depth}}}}}]"
            return await bench.run(text)

    tracemalloc.start()
    try:
        run = asyncio.run(main())
    finally:
        tracemalloc.stop()
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.outputs == {"done": True}
    assert run.step("a").spawned == depth


def test_what_could_not_run_anyway_waits_as_a_step():
    flow = Workflow(WorkflowId("w"), tuple(Step(StepName(f"s{n}"), TOOL) for n in range(WINDOW + 500)))
    driver = Driver(flow, lambda d: returns(driver.values, v=1), random.Random(1))

    async def play() -> int:
        from shoal.model.ids import new_owner_id
        from shoal.model.run import NewRun, RunSpec

        _, lease = await driver.store.create(NewRun(driver.run_id, RunSpec(flow), driver.run_id), owner=new_owner_id())
        driver.epoch = lease.epoch
        await driver.take_up(automatic=False)
        most = len(driver.open)
        while not driver.finished:
            await driver.one()
            most = max(most, len(driver.open))
        return most

    assert asyncio.run(play()) == WINDOW
    assert driver.status is RunStatus.SUCCEEDED


def test_a_step_that_was_running_at_three_automatic_takeovers_in_a_row_is_poison():
    flow = Workflow(WorkflowId("w"), (Step(StepName("a"), TOOL), Step(StepName("b"), TOOL, needs=(StepName("a"),))))
    driver = Driver(flow, lambda d: returns(driver.values, v=1), random.Random(1))

    async def play() -> None:
        from shoal.model.ids import new_owner_id
        from shoal.model.run import NewRun, RunSpec

        _, lease = await driver.store.create(NewRun(driver.run_id, RunSpec(flow), driver.run_id), owner=new_owner_id())
        driver.epoch = lease.epoch
        await driver.take_up(automatic=False)
        await driver.one()  # a result is recorded: b is running from here on
        for _ in range(3):
            assert not driver.finished
            await driver.reclaim()
            await driver.take_up(automatic=True)

    asyncio.run(play())
    run = asyncio.run(driver.store.run(driver.run_id))
    assert run.status is RunStatus.FAILED
    assert run.error.code == "poison_step"
    assert run.error.step == "b"

    async def again() -> None:
        driver.finished = False
        await driver.reclaim()
        await driver.take_up(automatic=False, reopen=True)
        await driver.to_the_end()

    asyncio.run(again())
    assert driver.status is RunStatus.SUCCEEDED
    assert asyncio.run(driver.store.run(driver.run_id)).suspects == {}
