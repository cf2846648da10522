"""Taking up, giving back, canceling: the orchestrator over the journal, with fake tools and a fake clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from shoal import NonRetryableError
from shoal.errors import ConflictError, IndexUnavailableError
from shoal.model.run import CancelCommand, ResumeCommand, RunStatus
from shoal.ports import LEASE_TTL, ClaimQuery
from shoal.testing.workbench import Workbench

WAITING = "id: t\nsteps: [{name: w, wait: {signal: go}}, {name: b, tool: ok}]\n"
TOOLS = {"ok": lambda: {"v": 1}}


def play(work) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def until_waiting(bench: Workbench, run_id) -> None:
    await bench.until(lambda run: run.status is RunStatus.WAITING, run_id)


async def settle(bench: Workbench, seconds: float = 0.0) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    if seconds:
        bench.clock.advance(seconds)
        for _ in range(100):
            await asyncio.sleep(0)


def test_nobody_takes_a_lease_from_itself_however_the_wall_clock_jumps():
    async def work():
        async with Workbench(TOOLS, skip_time=False) as bench:
            await bench.restart(takes_over=True)
            run_id = await bench.start(WAITING)
            await until_waiting(bench, run_id)
            owner = bench.orchestrator._owner
            bench.clock.advance(2 * LEASE_TTL.total_seconds())
            assert await bench.store.claim(owner, ClaimQuery(None)) == []
            await settle(bench, 2)
            assert bench.orchestrator.driving == (run_id,)
            await bench.signal(run_id, "go")
            assert (await bench.finish(run_id)).status is RunStatus.SUCCEEDED

    play(work())


def test_a_cancel_posted_before_a_resume_cancels():
    async def work():
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(WAITING)
            await until_waiting(bench, run_id)
            await bench.restart(takes_over=True)
            await bench.store.post(run_id, CancelCommand())
            await bench.store.post(run_id, ResumeCommand())
            await settle(bench, 2)
            assert (await bench.finish(run_id)).status is RunStatus.CANCELED

    play(work())


def test_a_cancel_that_came_too_late_does_not_cancel_a_later_resume():
    calls = []

    def once():
        calls.append(1)
        if len(calls) == 1:
            raise NonRetryableError("not yet")

    async def work():
        async with Workbench({"once": once}) as bench:
            failed = await bench.run("id: t\nsteps: [{name: a, tool: once}]\n")
            assert failed.status is RunStatus.FAILED
            await bench.store.post(failed.id, CancelCommand())  # as its end was being recorded
            bench.clock.advance(5.0)
            again = await bench.resume(failed.id)
            assert again.status is RunStatus.SUCCEEDED
            assert await bench.store.inbox([failed.id]) == []

    play(work())


def test_a_signal_sent_before_a_resume_is_delivered():
    async def work():
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(WAITING)
            await until_waiting(bench, run_id)
            await bench.restart(takes_over=True)
            await bench.signal(run_id, "go")
            await bench.store.post(run_id, ResumeCommand())
            await settle(bench, 2)
            assert (await bench.finish(run_id)).status is RunStatus.SUCCEEDED

    play(work())


def test_a_request_to_resume_a_run_that_has_succeeded_changes_nothing():
    async def work():
        async with Workbench(TOOLS) as bench:
            done = await bench.run("id: t\nsteps: [{name: a, tool: ok}]\nfinally: [{name: f, tool: ok}]\n")
            await bench.restart(takes_over=True)
            await bench.store.post(done.id, ResumeCommand())
            await settle(bench, 2)
            again = await bench.look(done.id)
            assert again.outputs == done.outputs
            assert "f#2" not in again.steps
            assert await bench.store.requests() == []

    play(work())


def parent(tmp_path, steps: str):
    (tmp_path / "sub.yaml").write_text(f"id: sub\nsteps: {steps}\n")
    top = tmp_path / "top.yaml"
    top.write_text("id: top\nsteps: [{name: one, workflow: ./sub.yaml}, {name: two, tool: ok}]\n")
    return top


def test_a_cancel_reaches_a_sub_workflow_also_after_a_takeover(tmp_path):
    async def work():
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(parent(tmp_path, "[{name: w, wait: {signal: never}}, {name: b, tool: ok}]"))
            child = None
            while child is None or (await bench.store.run(child)).status is not RunStatus.WAITING:
                await asyncio.sleep(0)
                steps = await bench.store.steps(run_id)
                child = steps[0].child_run_id if steps else None
            await bench.restart()
            await bench.cancel(run_id)
            run = await bench.resume(run_id)
            assert run.status is RunStatus.CANCELED
            assert (await bench.store.run(child)).status is RunStatus.CANCELED
            assert run.calls == []

    play(work())


def test_a_sub_workflow_is_not_deleted_by_itself(tmp_path):
    async def work():
        async with Workbench(TOOLS) as bench:
            run = await bench.run(parent(tmp_path, "[{name: a, tool: ok}]"))
            with pytest.raises(ConflictError, match="sub-workflow"):
                await bench.store.delete(run.step("one").child_run_id)

    play(work())


def test_finally_steps_run_after_one_cancel_and_end_with_the_second():
    text = "id: t\nsteps: [{name: a, tool: ok}]\nfinally: [{name: f, wait: {signal: never}}]\n"

    async def work():
        async with Workbench(TOOLS, skip_time=False) as bench:
            run_id = await bench.start(text)
            await until_waiting(bench, run_id)
            await bench.cancel(run_id)
            await settle(bench)
            assert not (await bench.store.run(run_id)).status.ended
            await bench.cancel(run_id)
            assert (await bench.finish(run_id)).status is RunStatus.CANCELED

    play(work())


def test_a_runs_timeout_holds_also_once_a_step_has_failed():
    text = "id: t\ntimeout: 60\nsteps: [{name: a, tool: bad}, {name: b, needs: [], tool: slow}]\n"
    bench: list[Workbench] = []

    def bad():
        raise NonRetryableError("no")

    async def work():
        async with Workbench({"bad": bad, "slow": lambda: canceled(bench[0])}, skip_time=False) as place:
            bench.append(place)
            run_id = await place.start(text)
            for _ in range(200):
                await asyncio.sleep(0.001)
            place.clock.advance(61)
            run = await place.finish(run_id)
            assert run.status is RunStatus.FAILED
            assert run.step("b").status.value in ("canceled", "failed")

    def canceled(place):
        import time

        from shoal import current_context

        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.01)
            current_context().check_canceled()

    play(work())


def test_items_do_not_start_after_a_restart_of_a_run_that_is_failing():
    """A step failed while a loop had items under way; the owner stopped before they ended: no further item starts."""
    started = []

    def item(n):
        import time

        from shoal import current_context

        started.append(n)
        while True:
            time.sleep(0.005)
            current_context().check_canceled()

    def bad():
        raise NonRetryableError("no")

    text = (
        "id: t\nsteps:\n  - {name: l, foreach: [0, 1, 2, 3, 4, 5], concurrency: 2, tool: item, inputs: {n: '{{ item }}'}}\n"
        "  - {name: bad, needs: [], tool: bad}\n"
    )

    async def work():
        async with Workbench({"item": item, "bad": bad}, skip_time=False) as bench:
            run_id = await bench.start(text)
            while len(started) < 2 or (await bench.store.steps(run_id))[-1].status.value == "running":
                await asyncio.sleep(0.001)
                rows = {s.path: s.status.value for s in await bench.store.steps(run_id)}
                if len(started) >= 2 and rows.get("bad") == "failed":
                    break
            await bench.restart()
            before = len(started)
            run = await bench.resume(run_id)
            assert run.status is RunStatus.FAILED
            assert len(started) == before

    play(work())


def test_a_run_that_wants_an_index_is_given_back_and_is_resumable():
    async def work():
        async with Workbench(TOOLS) as bench:
            resolver = bench.orchestrator._a.resolver

            async def unreachable(requests):
                raise IndexUnavailableError("no index answers")

            resolver.resolve, real = unreachable, resolver.resolve
            run_id = await bench.start("id: t\nsteps: [{name: a, tool: ok}]\n")
            await bench.until(lambda run: run.parked, run_id)
            assert (await bench.store.run(run_id)).shown_status == "resumable"
            assert bench.orchestrator.failure is None
            resolver.resolve = real
            assert (await bench.resume(run_id)).status is RunStatus.SUCCEEDED

    play(work())


def test_a_reopened_runs_timeout_counts_from_its_reopening():
    text = "id: t\ntimeout: 1h\nsteps: [{name: a, tool: sometimes}, {name: w, wait: {signal: go}}]\n"
    broken = [True]

    def sometimes():
        if broken[0]:
            raise NonRetryableError("no")

    async def work():
        async with Workbench({"sometimes": sometimes}, skip_time=False) as bench:
            failed = await bench.run(text)
            assert failed.status is RunStatus.FAILED
            broken[0] = False
            bench.clock.advance(timedelta(hours=2).total_seconds())
            await bench.orchestrator.resume(failed.id)
            await until_waiting(bench, failed.id)
            await bench.restart()
            await bench.orchestrator.resume(failed.id)
            await settle(bench, 60)
            await bench.signal(failed.id, "go")
            assert (await bench.finish(failed.id)).status is RunStatus.SUCCEEDED

    play(work())
