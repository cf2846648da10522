"""Warm workers on a real Ray: what they share, what they never do to each other, and whom they make room for."""

import asyncio
import os
import random
import signal
import time
from dataclasses import replace
from datetime import timedelta

import pytest

import shoal
from acceptance.test_ray_executor import driver_of
from shoal.errors import RunCanceledError, WorkerLostError
from shoal.executors.ray.worker import Limits
from shoal.model.attempts import Failed, Succeeded
from shoal.model.encoding import decode
from shoal.model.policies import Isolation, Resources
from shoal.testing.executor_suite import appears, call, outcome_error

pytestmark = pytest.mark.usefixtures("ray_connection")

QUICK = 8
"""Attempts after which a tool's pace is known."""


def where(completion):
    assert isinstance(completion.outcome, Succeeded), completion
    return decode(completion.outcome.outputs["result"], None, trusted=False)


def is_warm(completion):
    return where(completion)["process"].startswith("ray::WarmWorker")


async def warm_up(driver, workers=1):
    await driver.run(*[call("whereabouts", seconds=0.0 if workers == 1 else 0.2) for _ in range(QUICK)])
    return await driver.run(*[call("whereabouts") for _ in range(QUICK)])


def test_attempts_share_warm_workers_and_tasks_do_not(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            done = await driver.run(*[call("whereabouts") for _ in range(200)])
            assert all(is_warm(c) for c in done)
            assert len({where(c)["pid"] for c in done}) <= 2, "the session's Ray has two CPUs"
            (alone,) = await driver.run(call("whereabouts", isolation=Isolation.TASK))
            assert not is_warm(alone)

    asyncio.run(main())


def test_what_waits_behind_an_attempt_that_turned_out_long_goes_elsewhere(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            await warm_up(driver, workers=2)
            mark = tmp_path / "gate"
            long = call("whereabouts", seconds=20.0)
            rest = [call("whereabouts") for _ in range(100)]
            driver.executor.submit([long, *rest])
            done = await driver.collect(rest, within=15)
            assert all(is_warm(c) for c in done)
            assert not mark.exists()
            driver.executor.cancel([long.attempt_id], grace=timedelta(0))
            (ended,) = await driver.collect([long])
            assert isinstance(outcome_error(ended), RunCanceledError)

    asyncio.run(main())


@pytest.mark.parametrize("board", [True, False], ids=["seen", "unseen"])
def test_a_lost_worker_costs_an_attempt_only_to_what_ran(tmp_path, board):
    async def main():
        async with driver_of(tmp_path, board=board) as driver:
            await warm_up(driver)
            before = [call("whereabouts") for _ in range(5)]
            killer = call("whereabouts", ends=True)
            after = [call("whereabouts") for _ in range(40)]
            done = await driver.run(*before, killer, *after)
            lost = [c for c in done if isinstance(c.outcome, Failed)]
            assert [c.attempt_id for c in lost] == [killer.attempt_id]
            assert isinstance(outcome_error(lost[0]), WorkerLostError)
            again = replace(killer, attempt_id="again", number=2)
            (second,) = await driver.run(again)
            assert not is_warm(second) or not board, "the suspect runs alone"
            (third,) = await driver.run(call("whereabouts"))
            assert is_warm(third)

    asyncio.run(main())


def test_a_tool_that_closes_the_line_of_its_worker_is_carried_by_a_task_at_last(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            await warm_up(driver)
            cutter, others = call("cut", name="line"), [call("whereabouts") for _ in range(20)]
            done = await driver.run(cutter, *others, within=60)
            assert where(done[0]) == 0, "a task has no line to close"
            assert all(isinstance(c.outcome, Succeeded) for c in done[1:])

    asyncio.run(main())


def test_a_worker_that_dies_idle_costs_nobody_an_attempt(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            for _ in range(4):
                done = await warm_up(driver)
                assert all(is_warm(c) for c in done)
                os.kill(where(done[-1])["pid"], signal.SIGKILL)
                pools = driver.executor._parts.pools
                async with asyncio.timeout(10):
                    while any(  # noqa: ASYNC110
                        w.pid == where(done[-1])["pid"] for p in pools._pools.values() for w in p.workers
                    ):
                        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_a_canceled_attempt_of_a_batch_that_was_sent_never_begins(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            await driver.run(*[call("append", file=str(tmp_path / "warm")) for _ in range(QUICK)])
            file = tmp_path / "begun"
            mark = tmp_path / "mark"
            blockers = [call("wait", seconds=60, yields=True, mark=str(mark)) for _ in range(4)]
            quick = [call("append", file=str(file)) for _ in range(20)]
            driver.executor.submit(blockers)
            await appears(mark)
            driver.executor.submit(quick)
            driver.executor.cancel([c.attempt_id for c in (*quick, *blockers)], grace=timedelta(seconds=10))
            done = await driver.collect([*quick, *blockers])
            assert all(isinstance(outcome_error(c), RunCanceledError) for c in done)
            assert not file.exists()

    asyncio.run(main())


def test_a_worker_retires_after_its_attempts_and_when_it_has_grown(tmp_path):
    async def main():
        async with driver_of(tmp_path, limits=Limits(attempts=3)) as driver:
            pids = [where((await driver.run(call("whereabouts")))[0])["pid"] for _ in range(7)]
            assert len(set(pids)) == 3

    asyncio.run(main())


def test_idle_workers_make_room_for_others_in_the_cluster(tmp_path):
    async def main():
        import ray

        async with driver_of(tmp_path) as driver:
            await warm_up(driver, workers=2)
            other = ray.remote(num_cpus=2)(lambda: "had both")
            assert await asyncio.wait_for(asyncio.wrap_future(other.remote().future()), 30) == "had both"
            (back,) = await driver.run(call("whereabouts"))
            assert is_warm(back)

    asyncio.run(main())


def test_busy_workers_make_room_for_pools_that_have_none_and_for_tasks(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            ours = [call("whereabouts", seconds=0.3) for _ in range(80)]
            driver.executor.submit(ours)
            await asyncio.sleep(1.0)
            small = replace(call("whereabouts"), resources=Resources(cpus=0.5))
            task = call("whereabouts", isolation=Isolation.TASK)
            done = await driver.run(small, task, within=60)
            assert is_warm(done[0])
            assert len(driver.completions) < len(ours), "they did not wait for all of the others"
            await driver.collect(ours)

    asyncio.run(main())


NESTED = """
import ray

@ray.remote
def double(x):
    return 2 * x

def twice(x: int) -> dict:
    return {"y": ray.get(double.remote(x))}
"""


def test_tools_that_start_ray_work_of_their_own_do_not_wait_for_it_for_ever(tmp_path, ray_address):
    (tmp_path / "nested.py").write_text(NESTED)
    flow = tmp_path / "nested.yaml"
    flow.write_text("""
id: nested
steps:
  - {name: a, tool: "nested:twice", foreach: "[1, 2, 3, 4]", inputs: {x: "{{ item }}"}, outputs: [{name: y}]}
outputs: {ys: "{{ steps.a.outputs.y }}"}
""")

    async def main():
        async with shoal.connect(home=str(tmp_path / "home"), ray_address=ray_address) as client:
            handle = await client.start(str(flow))
            return await asyncio.wait_for(handle.result(), 60)

    assert asyncio.run(main()) == {"ys": [2, 4, 6, 8]}


@pytest.mark.full
@pytest.mark.parametrize("board", [True, False], ids=["seen", "unseen"])
def test_random_kills_of_workers_lose_nothing(tmp_path, board):
    """Every attempt ends exactly once; lost are at most as many as were killed, seen workers; others never run twice over."""
    seed = int(os.environ.get("SHOAL_SEED", "1"))
    seconds = float(os.environ.get("SHOAL_SOAK", "60"))

    async def main():
        dice = random.Random(seed)
        async with driver_of(tmp_path, board=board) as driver:
            end = time.monotonic() + seconds
            kills = lost = 0
            while time.monotonic() < end:
                attempts = [call("whereabouts", seconds=dice.choice([0, 0, 0, 0.01, 0.3])) for _ in range(dice.randint(1, 150))]
                driver.executor.submit(attempts)
                for _ in range(dice.randint(0, 2)):
                    await asyncio.sleep(dice.uniform(0, 0.6))
                    pids = [w.pid for p in driver.executor._parts.pools._pools.values() for w in p.workers if w.pid]
                    if pids:
                        os.kill(dice.choice(pids), signal.SIGKILL)
                        kills += 1
                done = await driver.collect(attempts)
                failed = [c for c in done if isinstance(c.outcome, Failed)]
                assert all(isinstance(outcome_error(c), WorkerLostError) for c in failed)
                lost += len(failed)
                driver.completions.clear()
            assert lost <= kills, (lost, kills)

    asyncio.run(main())
