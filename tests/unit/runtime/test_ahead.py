"""Which environments of a run are made ahead of their use."""

import asyncio

from shoal.errors import EnvironmentBuildError
from shoal.model.ids import Digest
from shoal.model.tools import BuiltEnvironment, EnvironmentLock
from shoal.runtime.ahead import build_ahead
from toolkit import function_lock


class Environments:
    def __init__(self):
        self.asked = []

    async def prepare(self, locks, *, node=None):
        self.asked.append([lock.digest for lock in locks])

    async def build(self, lock):
        if lock.digest == "broken":
            raise EnvironmentBuildError("no")
        return BuiltEnvironment(lock.digest, f"/{lock.digest}/python", 0.0, reused=True)


class Executor:
    def prepare(self, environments):
        self.prepared = [environment.python for environment in environments]


def test_environments_are_prepared_in_the_order_of_their_steps():
    environments, executor = Environments(), Executor()
    locks = [function_lock(f"m:f{d}", environment=EnvironmentLock(Digest(d), "overlay", ())) for d in "ba"]
    asyncio.run(build_ahead(environments, executor, [locks[0], function_lock("json:dumps"), locks[1], locks[0]]))
    assert environments.asked == [["b", "a"]]
    assert executor.prepared == ["/b/python", "/a/python"]


def test_workers_are_started_where_an_environment_stands_and_ray_can_use_it():
    kinds = {"fine": "overlay", "broken": "overlay", "clean": "process"}
    locks = [function_lock(f"m:{d}", environment=EnvironmentLock(Digest(d), kind, ())) for d, kind in kinds.items()]
    executor = Executor()
    asyncio.run(build_ahead(Environments(), executor, locks))
    assert executor.prepared == ["/fine/python"]


def test_a_run_that_needs_none_asks_for_none():
    asyncio.run(build_ahead(None, None, [function_lock("json:dumps")]))
