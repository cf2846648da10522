"""Which attempts go to which worker together."""

import asyncio
from datetime import UTC, datetime, timedelta

from shoal.executors.ray.flight import Flight
from shoal.executors.ray.pool import BATCH_SIZE, FAST, Batch, Errand, Paces, Pool, PoolKey, WarmHandle
from shoal.model.attempts import Completion, Succeeded
from shoal.model.policies import Resources
from shoal.testing.executor_suite import call

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = PoolKey(None, Resources())


def learn(paces, tool, *seconds):
    for s in seconds:
        paces.learn(call(tool), Completion("x", Succeeded({}), NOW, NOW + timedelta(seconds=s)))


def pool_of(*tools, workers=1):
    pool = Pool(KEY)
    pool.waiting.extend(Flight(call(t)) for t in tools)
    pool.workers.extend(WarmHandle(None, pool, pid=n + 1, visible=True) for n in range(workers))
    return pool


def test_what_is_not_known_to_be_fast_goes_alone():
    paces = Paces()
    pool = pool_of("echo", "echo")
    assert len(pool.take(paces)) == 1
    learn(paces, "echo", 0.001, 0.001)
    assert len(pool_of("echo", "echo").take(paces)) == 1, "two say nothing"
    learn(paces, "wait", FAST, FAST, FAST)
    assert len(pool_of("wait", "wait").take(paces)) == 1


def test_fast_attempts_share_a_batch_of_limited_time_and_size():
    paces = Paces()
    learn(paces, "echo", 0.0049, 0.0049, 0.0049)
    learn(paces, "say", *[0.00001] * 16)
    assert len(pool_of(*["echo"] * 100).take(paces)) == 4
    assert len(pool_of(*["say"] * 1000).take(paces)) == BATCH_SIZE
    assert len(pool_of(*["say"] * 10, workers=2).take(paces)) == 5, "workers share"
    assert len(pool_of("say", "say", "wait", "say").take(paces)) == 2, "an unknown one ends it"


def test_a_tool_that_becomes_slow_is_no_longer_fast():
    paces = Paces()
    learn(paces, "echo", *[0.001] * 16)
    assert paces.is_fast(call("echo"))
    learn(paces, "echo", *[0.5] * 10)
    assert not paces.is_fast(call("echo"))


def test_a_busy_worker_takes_one_more_batch_of_fast_attempts_only():
    paces = Paces()
    learn(paces, "echo", *[0.001] * 16)
    pool = pool_of("echo", "wait")
    (worker,) = pool.workers
    assert pool.free(paces) is worker
    worker.batches.append(Batch(worker, {}, {}, fast=True))
    assert pool.free(paces) is worker
    worker.batches[0].fast = False
    assert pool.free(paces) is None, "what runs may take long"
    worker.batches[0].fast, worker.visible = True, False
    assert pool.free(paces) is None, "it could not be taken back"
    worker.visible = True
    worker.batches.append(Batch(worker, {}, {}, fast=True))
    assert pool.free(paces) is None
    worker.batches.clear()
    worker.retiring = True
    assert pool.free(paces) is None


def test_what_was_dropped_is_not_taken_and_what_comes_back_is_first():
    paces = Paces()
    pool = pool_of("echo", "say", "wait")
    first, second, third = pool.waiting
    first.dropped = True
    assert pool.head() is second
    assert pool.take(paces) == [second]
    pool.put_back([first, second])
    first.dropped = False
    assert list(pool.waiting) == [first, second, third]


def test_an_errand_goes_alone():
    async def main():
        paces = Paces()
        learn(paces, "echo", *[0.001] * 16)
        pool = pool_of("echo", "echo")
        errand = Errand(call("echo").tool, asyncio.get_running_loop().create_future())
        pool.waiting.appendleft(errand)
        assert pool.take(paces) == [errand]

    asyncio.run(main())
