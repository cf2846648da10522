"""What things cost does not grow with what has nothing to do with them."""

import asyncio
import time
import tracemalloc

import pytest

from shoal.model.ids import OwnerId, StepPath, new_attempt_id
from shoal.model.run import AttemptChanged, AttemptRecord, StepStatus
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import AT, batch, changed, json_value, new_run

ONE = OwnerId("one")


@pytest.fixture
def store(tmp_path):
    store = SqliteRunStore(tmp_path / "journal.db")
    yield store
    store.close()


def started_and_ended(numbers, name="loop[{}]"):
    for n in numbers:
        path = name.format(n)
        yield changed(path, result={"out": json_value(n)}, attempts=1, started_at=AT, finished_at=AT)
        yield AttemptChanged(AttemptRecord(StepPath(path), 1, new_attempt_id(), AT, AT, "succeeded"))


def fill(store, new, count, name="loop[{}]"):
    async def main():
        for first in range(0, count, 1000):
            await store.commit([batch(new, *started_and_ended(range(first, min(count, first + 1000)), name))])

    asyncio.run(main())


def instructions(store, new, numbers):
    """Return how many instructions of its virtual machine SQLite takes for a commit: no clock, no noise."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    async def commit():
        store._db._driver.set_progress_handler(tick, 1)
        await store.commit([batch(new, *started_and_ended(numbers))])
        store._db._driver.set_progress_handler(None, 0)

    asyncio.run(commit())
    return count


def test_a_commit_costs_the_same_in_a_run_of_20_000_steps_as_in_one_of_100(store):
    small, large = new_run(), new_run()
    asyncio.run(store.create(small, owner=ONE))
    asyncio.run(store.create(large, owner=ONE))
    fill(store, small, 100)
    fill(store, large, 20_000)
    cheap = instructions(store, small, range(100, 120))
    dear = instructions(store, large, range(20_000, 20_020))
    assert dear <= cheap * 1.05
    assert instructions(store, large, range(20_000, 20_020)) <= cheap * 2, "steps that are replaced"


def test_a_snapshot_of_10_000_steps_takes_well_under_a_second(store):
    new = new_run()
    asyncio.run(store.create(new, owner=ONE))
    fill(store, new, 10_000, "step{}")
    began = time.process_time()
    snapshot = asyncio.run(store.snapshot(new.id))
    assert time.process_time() - began < 1
    assert len(snapshot.steps) == 10_000
    assert {step.status for step in snapshot.steps} == {StepStatus.SUCCEEDED}


def test_the_results_of_items_pass_through_little_memory(store):
    new = new_run()
    asyncio.run(store.create(new, owner=ONE))
    wide = [changed(f"loop[{n}]", result={"out": json_value("x" * 5000)}) for n in range(4000)]
    asyncio.run(store.commit([batch(new, *wide)]))
    del wide

    async def count():
        return sum([1 async for _ in store.item_results(new.id, StepPath("loop"))])

    tracemalloc.start()
    try:
        assert asyncio.run(count()) == 4000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024, "of 20 MiB"
