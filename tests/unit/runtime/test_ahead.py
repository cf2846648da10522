"""Which environments of a run are made ahead of their use."""

import asyncio

from shoal.errors import EnvironmentBuildError
from shoal.model.ids import Digest
from shoal.model.tools import BuiltEnvironment, EnvironmentLock, ToolOptions
from shoal.runtime.ahead import build_ahead
from shoal.runtime.dispatching import Dispatcher
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


def test_what_goes_wrong_ahead_of_use_is_no_concern_of_anybody():
    class Broken(Environments):
        async def prepare(self, locks, *, node=None):
            raise PermissionError("somebody else's folder")

    class Gone(Executor):
        def prepare(self, environments):
            raise RuntimeError("Ray is gone")

    lock = function_lock("m:f", environment=EnvironmentLock(Digest("a"), "overlay", ()))
    asyncio.run(build_ahead(Broken(), Executor(), [lock]))
    asyncio.run(build_ahead(Environments(), Gone(), [lock]))


def test_the_options_of_a_tool_are_read_once_however_many_steps_wait_for_them():
    reads = []

    class Reader:
        async def options(self, lock, built):
            reads.append(lock)
            await asyncio.sleep(0.01)
            return ToolOptions(num_cpus=2.0)

    async def main():
        dispatcher = Dispatcher(None, Reader(), None, None, None, None, frozenset(), lambda: None)
        lock = function_lock("m:f")
        await asyncio.gather(*(dispatcher._read_options(None, lock, None) for _ in range(50)))
        assert dispatcher.options[lock] == ToolOptions(num_cpus=2.0)
        assert reads == [lock]
        assert not dispatcher.reading

    asyncio.run(main())
