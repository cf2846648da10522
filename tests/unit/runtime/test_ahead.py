"""Which environments of a run are made ahead of their use."""

import asyncio

from shoal.model.ids import Digest
from shoal.model.tools import EnvironmentLock
from shoal.runtime.ahead import build_ahead
from toolkit import function_lock


class Environments:
    def __init__(self):
        self.asked = []

    async def prepare(self, locks, *, node=None):
        self.asked.append([lock.digest for lock in locks])


def test_environments_are_prepared_in_the_order_of_their_steps():
    environments = Environments()
    locks = [function_lock(f"m:f{d}", environment=EnvironmentLock(Digest(d), "overlay", ())) for d in "ba"]
    asyncio.run(build_ahead(environments, [locks[0], function_lock("json:dumps"), locks[1]]))
    assert environments.asked == [["b", "a"]]


def test_a_run_that_needs_none_asks_for_none():
    asyncio.run(build_ahead(None, [function_lock("json:dumps")]))
