"""Looks for changes are few, whatever the number of those who wait."""

import asyncio

from shoal.stores.doorbell import INTERVAL, Doorbell


class Outside:
    def __init__(self):
        self.version = self.looks = 0

    def __call__(self):
        self.looks += 1
        return self.version


def test_a_hundred_waiters_share_the_looks():
    outside = Outside()

    async def main():
        bell = Doorbell(outside)
        mark = await bell.wait(None, 0)
        before = outside.looks
        marks = await asyncio.gather(*(bell.wait(mark, INTERVAL * 2.5) for _ in range(100)))
        assert set(marks) == {mark}
        assert outside.looks - before <= 3

    asyncio.run(main())


def test_one_waiter_that_gives_up_does_not_wake_the_others():
    async def main():
        bell = Doorbell()
        mark = await bell.wait(None, 0)
        gone, patient = (asyncio.create_task(bell.wait(mark, 60)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert not patient.done()
        bell.ring()
        assert await patient == mark + 1

    asyncio.run(main())


def test_a_bell_outlives_the_loop_it_was_first_waited_on():
    bell = Doorbell()
    mark = asyncio.run(bell.wait(None, 0))
    assert asyncio.run(bell.wait(mark, 0.01)) == mark

    async def main():
        waiting = asyncio.create_task(bell.wait(mark, 60))
        await asyncio.sleep(0)
        bell.ring()
        return await waiting

    assert asyncio.run(main()) == mark + 1


def test_a_change_outside_is_told_once():
    outside = Outside()

    async def main():
        bell = Doorbell(outside)
        mark = await bell.wait(None, 0)
        outside.version = 7
        changed = await bell.wait(mark, 60)
        assert changed != mark
        assert await bell.wait(changed, INTERVAL * 1.5) == changed

    asyncio.run(main())
