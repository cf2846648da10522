"""Shoal's side: runs of the measured workflows through the public API, on a journal with the fsync on.

The clock runs from `client.start` until `result()` returns, which is what a user waits for. `*_journal` figures are the
span between the run's start and end in the journal.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import shoal
from benchmarks import flows
from benchmarks.probes.answering import Figures, Stopwatch, answer
from benchmarks.probes.resident import Growth
from shoal.client import Client, RunView
from shoal.language.loading import load_file
from shoal.model.ids import RunId
from shoal.model.run import RunStatus
from shoal.model.workflow import Workflow


def _flow(home: str, form: str, n: int) -> Workflow:
    return load_file(flows.write(Path(home) / "flows", f"{form}-{n}", flows.FORMS[form](n)))


async def _timed(client: Client, flow: Workflow) -> tuple[float, float]:
    """Return the seconds of one run as its user and as the journal sees it."""
    watch = Stopwatch()
    handle = await client.start(flow)
    await handle.result()
    seconds = watch.seconds
    run = (await client.show(handle.id)).run
    if run.started_at is None or run.finished_at is None:
        raise AssertionError(f"run {handle.id} has no times")
    return seconds, (run.finished_at - run.started_at).total_seconds()


async def _warm(client: Client, flow: Workflow, seconds: float) -> None:
    """Run for at least so long, and twice at least: workers come to life one after another."""
    watch, runs = Stopwatch(), 0
    while runs < 2 or watch.seconds < seconds:  # noqa: PLR2004 - twice
        await _timed(client, flow)
        runs += 1


def timed_run(address: str, home: str, form: str, n: int, warm: float) -> Figures:
    """Measure one run of a form after warm runs of the same form; seconds, in all and by the journal."""
    watch = Stopwatch()
    flow = _flow(home, form, n)
    loading = watch.seconds

    async def measure() -> Figures:
        async with shoal.connect(home=home, ray_address=address) as client:
            await _warm(client, _flow(home, form, min(n, 200)), warm)
            seconds, journal = await _timed(client, flow)
        return {"seconds": seconds, "journal": journal, "loading": loading}

    return asyncio.run(measure())


def runs(address: str, home: str, n: int, at_once: int, warm: float) -> Figures:
    """Measure one-step runs, so many callers at once, each waiting for its result; runs/s."""
    flow = _flow(home, "one", 1)

    async def measure() -> Figures:
        async with shoal.connect(home=home, ray_address=address) as client:
            await _warm(client, _flow(home, "foreach", 100), warm)

            async def caller(count: int) -> None:
                for _ in range(count):
                    await (await client.start(flow)).result()

            await asyncio.gather(*(caller(1) for _ in range(at_once)))
            each = -(-n // at_once)
            watch = Stopwatch()
            await asyncio.gather(*(caller(each) for _ in range(at_once)))
            return {"runs_per_s": each * at_once / watch.seconds}

    return asyncio.run(measure())


def one_run(address: str, home: str, requirement: str) -> Figures:
    """Measure a one-step run whose tool needs a package, from start to result; seconds."""
    folder = Path(home) / "flows"
    plain = load_file(flows.write(folder, "one", flows.one()))
    flow = load_file(flows.write(folder, "requiring", flows.requiring(requirement)))

    async def measure() -> Figures:
        async with shoal.connect(home=home, ray_address=address) as client:
            await _timed(client, plain)
            seconds, _ = await _timed(client, flow)
        return {"seconds": seconds}

    return asyncio.run(measure())


def memory(address: str, home: str, form: str, n: int) -> Figures:
    """Measure by how much this process grows at most while it drives a run; bytes.

    The definition is loaded, and smaller runs of the same form are done, before the first look. The run is waited for with
    one look at its row now and then, since what a view of it takes is its viewer's.
    """
    flow, small = _flow(home, form, n), _flow(home, form, min(n, 200))

    async def measure() -> Figures:
        async with shoal.connect(home=home, ray_address=address) as client:
            await _warm(client, small, 0)
            with Growth() as growth:
                handle = await client.start(flow)
                status = await _ended(client, handle.id)
            if status is not RunStatus.SUCCEEDED:
                raise AssertionError(f"the run {status}")
        return {"grown_bytes": growth.most}

    return asyncio.run(measure())


async def _until_waiting(client: Client, run_id: str) -> None:
    while (status := await _status(client, run_id)) is not RunStatus.WAITING:
        if status.ended:
            raise AssertionError(f"run {run_id} ended before its gate")
        await asyncio.sleep(0.2)


async def _ended(client: Client, run_id: str) -> RunStatus:
    while True:
        status = await _status(client, run_id)
        if status.ended:
            return status
        await asyncio.sleep(0.1)


async def _status(client: Client, run_id: str) -> RunStatus:
    return (await client.store.run(RunId(run_id))).status


def record(address: str, home: str, form: str, n: int) -> Figures:
    """Leave a run behind with `n` recorded steps, which nobody drives, and whose next step may be dispatched at once."""
    flow = _flow(home, f"recorded-{form}", n)

    async def leave() -> Figures:
        watch = Stopwatch()
        async with shoal.connect(home=home, ray_address=address) as client:
            await client.start(flow, run_id=f"recorded-{form}")
            await _until_waiting(client, f"recorded-{form}")
        async with shoal.connect(home=home) as client:
            await client.signal(f"recorded-{form}", "go")
        return {"seconds": watch.seconds}

    return asyncio.run(leave())


def resume(address: str, home: str, form: str) -> Figures:
    """Measure from the call of `resume` until the first step that was not recorded starts; Ray is up, and warm. Seconds."""
    plain = _flow(home, "one", 1)

    async def measure() -> Figures:
        async with shoal.connect(home=home, ray_address=address) as client:
            await _warm(client, plain, 0)
            begun = datetime.now(UTC)
            handle = await client.resume(f"recorded-{form}")
            view: RunView = await handle.wait()
        after = next(step for step in view.steps if step.name == "after")
        if after.started_at is None or view.run.status is not RunStatus.SUCCEEDED:
            raise AssertionError(f"the resumed run {view.run.status}")
        return {"seconds": (after.started_at - begun).total_seconds()}

    return asyncio.run(measure())


if __name__ == "__main__":
    answer({"timed_run": timed_run, "runs": runs, "one_run": one_run, "memory": memory, "record": record, "resume": resume})
