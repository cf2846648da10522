"""Random graphs with random failures, orders and crashes: what must hold of every one of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.engine_driver import Driver, raises, returns
from shoal.model.ids import StepName, WorkflowId
from shoal.model.policies import OnError, RetryPolicy
from shoal.model.tools import ToolReference
from shoal.model.workflow import CallTool, Condition, Constant, Expression, Reference, Step, Workflow

TOOL = CallTool(ToolReference("t", "builtin", "t"))
ALWAYS = Condition(Constant(True), after_failure=True)
IF_FAILED = Condition(Expression("_failed"), after_failure=True)
NEVER = Condition(Constant(False))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Workflow, dict[str, int]]:
    """Return a workflow, and how often each step's tool fails before it succeeds (99: always)."""
    size = draw(st.integers(1, 7))
    names = [StepName(f"s{i}") for i in range(size)]
    fails: dict[str, int] = {}
    steps = []
    for i, name in enumerate(names):
        needs = tuple(n for n in names[:i] if draw(st.integers(0, 2)) == 0)
        fails[name] = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 99]))
        loop = Constant(list(range(draw(st.integers(0, 4))))) if draw(st.integers(0, 4)) == 0 else None
        steps.append(
            Step(
                name,
                TOOL,
                needs=needs,
                inputs=tuple((str(n), Reference(("steps", n, "outputs", "v"))) for n in needs),
                condition=draw(st.sampled_from([None, None, None, ALWAYS, IF_FAILED, NEVER])),
                foreach=loop,
                retry=RetryPolicy(max_attempts=3, initial=timedelta(seconds=1)),
                on_error=draw(st.sampled_from([OnError.FAIL, OnError.FAIL, OnError.CONTINUE])),
            )
        )
    finals = tuple(Step(StepName(f"f{i}"), TOOL) for i in range(draw(st.integers(0, 2))))
    for step in finals:
        fails[step.name] = draw(st.sampled_from([0, 0, 1, 99]))
    limit = draw(st.sampled_from([None, 1, 2]))
    return Workflow(WorkflowId("w"), tuple(steps), finals, max_parallel=limit), fails


def play(flow: Workflow, fails: dict[str, int], seed: int, crash_rate: float = 0.0, cancel_at: int | None = None) -> Driver:
    ended: Counter[str] = Counter()

    def behave(dispatch):
        ended[dispatch.path] += 1
        if ended[dispatch.path] <= fails[dispatch.step.name]:
            return raises()
        return returns(driver.values, v=f"{dispatch.path}")

    driver = Driver(flow, behave, random.Random(seed), crash_rate)
    driver.cancel_at = cancel_at
    driver.play()
    return driver


def check(driver: Driver, flow: Workflow) -> None:
    """Assert what must hold of every finished run."""
    rows = {s.path: s for s in asyncio.run(driver.store.steps(driver.run_id))}
    steps = {s.name: s for s in (*flow.steps, *flow.finally_steps)}
    for name in steps:
        assert rows[name].status.ended, f"{name} was left {rows[name].status}"
    hard = [n for n, s in steps.items() if rows[n].status.value == "failed" and s.on_error is OnError.FAIL]
    canceled = asyncio.run(driver.store.run(driver.run_id)).cancel_requested
    assert driver.status.value == ("canceled" if canceled else "failed" if hard else "succeeded")
    for start in driver.started:
        assert start.path not in start.done, "a recorded step ran again"
        name = start.path.split("[")[0]
        for need in steps[name].needs:
            assert rows[need].status.ended
            assert rows[need].finished_at is not None
    if flow.max_parallel is not None:
        assert driver.max_open <= flow.max_parallel
    for step in flow.finally_steps:
        assert rows[step.name].status.value in ("succeeded", "failed") or canceled
    if not hard and not canceled:
        for name, step in steps.items():
            row = rows[name]
            assert row.skip_reason in (None, "condition")
            if step.condition is NEVER or step.condition is IF_FAILED:
                assert row.status.value == "skipped"
            elif row.status.value == "succeeded" and step.foreach is not None:
                assert row.items is not None
                assert row.items.total == len(step.foreach.value)  # type: ignore[union-attr]


@settings(max_examples=250)
@given(graphs(), st.integers(0, 10_000))
def test_every_graph_ends_as_it_must(graph, seed):
    flow, fails = graph
    driver = play(flow, fails, seed)
    check(driver, flow)
    numbers = Counter((s.path, s.number) for s in driver.started)
    assert max(numbers.values(), default=1) == 1, "an attempt number was given out twice"


@settings(max_examples=250)
@given(graphs(), st.integers(0, 10_000))
def test_crashes_change_nothing_but_attempts(graph, seed):
    """At most one more attempt a step a crash; nothing recorded runs again; without hard failures the same outcome."""
    flow, fails = graph
    calm = play(flow, fails, seed)
    stormy = play(flow, fails, seed, crash_rate=0.25)
    check(stormy, flow)
    attempts_calm = Counter(s.path for s in calm.started)
    attempts = Counter(s.path for s in stormy.started)
    if calm.status.value == "succeeded":
        assert stormy.status.value == "succeeded"
        assert calm.statuses() == stormy.statuses()
        for path, count in attempts.items():
            assert count <= attempts_calm[path] + stormy.crashes
    assert max(Counter((s.path, s.number) for s in stormy.started).values(), default=1) == 1


@settings(max_examples=200)
@given(graphs(), st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([0.0, 0.2]))
def test_cancel_ends_every_graph(graph, seed, when, crash_rate):
    flow, fails = graph
    driver = play(flow, fails, seed, crash_rate=crash_rate, cancel_at=when)
    check(driver, flow)


@settings(max_examples=200)
@given(graphs(), st.integers(0, 10_000), st.integers(1, 12))
def test_a_resume_runs_only_what_is_unfinished(graph, seed, when):
    """Cancel or fail, resume with tools that now work: it succeeds, and what had succeeded is not run again."""
    flow, fails = graph
    driver = play(flow, fails, seed, cancel_at=when)
    if driver.status.value == "succeeded":
        return
    before = {p for p, s in driver.statuses().items() if s == "succeeded"}
    driver.started.clear()
    driver.finished = False
    driver.cancel_at = None
    driver.behaviour = lambda d: returns(driver.values, v=str(d.path))

    async def again() -> None:
        await driver.reclaim()
        await driver.take_up(automatic=False, reopen=True)
        await driver.to_the_end()

    asyncio.run(again())
    assert driver.status.value == "succeeded"
    finals = {f.name for f in flow.finally_steps}
    for start in driver.started:
        assert start.path not in before or start.path in finals
    for row in asyncio.run(driver.store.steps(driver.run_id)):
        if row.name not in finals and "[" not in row.path:  # an item that may fail stays failed in a loop that succeeded
            assert row.status.value in ("succeeded", "skipped"), row


@pytest.mark.parametrize("size", [10, 400])
def test_the_cost_of_a_decision_does_not_grow_with_the_run(size):
    """Count the changes and effects of one completion in a chain: the same in a short run and in a long one."""
    names = [StepName(f"s{i}") for i in range(size)]
    steps = tuple(Step(n, TOOL, needs=(names[i - 1],) if i else ()) for i, n in enumerate(names))
    driver = Driver(Workflow(WorkflowId("w"), steps), lambda d: returns(driver.values, v=1), random.Random(1))
    sizes: list[int] = []
    real = driver.settle

    async def counted() -> None:
        engine = driver.engine
        assert engine is not None
        sizes.append(len(engine._run.todo))
        await real()

    driver.settle = counted  # type: ignore[method-assign]
    driver.play()
    assert max(sizes[1:]) == 1
