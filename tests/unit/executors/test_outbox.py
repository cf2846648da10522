"""Things come out in order, once, in batches."""

import asyncio

import pytest

from shoal.errors import RayUnavailableError
from shoal.executors.order import absorb
from shoal.executors.outbox import Outbox
from shoal.model.attempts import Completion, Notice, Succeeded
from shoal.model.run import Progress


def test_a_taker_gets_all_there_is_and_then_the_error():
    async def main():
        box = Outbox()
        box.put([])
        box.put([1, 2])
        box.put([3])
        assert await box.take() == [1, 2, 3]
        box.put([4])
        box.fail(RayUnavailableError("gone"))
        assert await box.take() == [4]
        for _ in range(2):
            with pytest.raises(RayUnavailableError):
                await box.take()

    asyncio.run(main())


def test_a_completion_takes_the_log_of_notices_that_nobody_took():
    async def main():
        box = Outbox()
        box.put([Notice("a", logs=b"1", logs_dropped=1), Notice("b", logs=b"x"), Notice("a", None, Progress(3), b"2")])
        done = absorb(Completion("a", Succeeded({}), logs=b"3", logs_dropped=2), box)
        assert (done.logs, done.logs_dropped) == (b"123", 3)
        left = await box.take()
        assert [(n.attempt_id, n.logs) for n in left] == [("b", b"x"), ("a", b"")]
        assert left[1].progress == Progress(3)

    asyncio.run(main())
