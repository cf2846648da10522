"""What the Ray executor does beyond the suite of executors: on a real Ray."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from shoal.errors import RunCanceledError, StepFailedError, StepTimeoutError, WorkerLostError
from shoal.executors.ray import cluster
from shoal.executors.ray.executor import RayExecutor
from shoal.executors.ray.node import RayNodeRunner
from shoal.model.attempts import Failed, Succeeded
from shoal.model.policies import Isolation, Resources
from shoal.model.tools import BuiltEnvironment
from shoal.testing.executor_suite import Driver, FolderBlobs, appears, call, is_gone, outcome_error
from shoal.testing.executor_tools import SuiteInvoker

pytestmark = pytest.mark.usefixtures("ray_connection")


@asynccontextmanager
async def driver_of(folder, **options):
    blobs = FolderBlobs(str(folder))
    executor = RayExecutor(invoker=SuiteInvoker(blobs), blobs=blobs, **options)
    await executor.start()
    driver = Driver(executor)
    try:
        yield driver
    finally:
        await driver.stop()
        await executor.close(grace=timedelta(0))


def test_losing_the_mailbox_loses_no_result_and_it_comes_back(tmp_path):
    async def main():
        import ray

        async with driver_of(tmp_path) as driver:
            mark = tmp_path / "mark"
            attempt = call("work", steps=60, seconds=0.1)
            driver.executor.submit([attempt, call("wait", seconds=0, yields=True, mark=str(mark))])
            await appears(mark)
            await asyncio.sleep(1.0)
            actor = ray.get_actor(driver.executor._name, namespace=cluster.NAMESPACE)
            ray.kill(actor, no_restart=False)
            heard = len(driver.of(attempt.attempt_id))
            (done,) = await driver.collect([attempt])
            assert isinstance(done.outcome, Succeeded)
            assert len(driver.of(attempt.attempt_id)) > heard, "notices come again"

    asyncio.run(main())


def test_a_cancel_reaches_its_attempt_although_the_mailbox_is_gone(tmp_path):
    async def main():
        import ray

        async with driver_of(tmp_path) as driver:
            mark = tmp_path / "mark"
            attempt = call("wait", seconds=60, yields=True, mark=str(mark))
            driver.executor.submit([attempt])
            await appears(mark)
            await asyncio.sleep(0.5)
            ray.kill(ray.get_actor(driver.executor._name, namespace=cluster.NAMESPACE), no_restart=False)
            began = time.monotonic()
            driver.executor.cancel([attempt.attempt_id], grace=timedelta(seconds=20))
            (done,) = await driver.collect([attempt])
            assert isinstance(outcome_error(done), RunCanceledError)
            assert time.monotonic() - began < 5

    asyncio.run(main())


def test_what_no_node_could_carry_fails_at_once_and_names_it(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            many = replace(call("echo", value=1), resources=Resources(cpus=1000))
            odd = replace(call("echo", value=1), resources=Resources(custom=(("fish", 1.0),)))
            fine = call("echo", value=1)
            done = await driver.run(many, odd, fine, within=30)
            for completion, name in zip(done, ("CPU 1000", "fish 1"), strict=False):
                assert isinstance(outcome_error(completion), StepFailedError)
                assert name in str(outcome_error(completion))
                assert not completion.outcome.retryable
            assert isinstance(done[2].outcome, Succeeded)

    asyncio.run(main())


def test_what_no_node_could_carry_waits_for_a_growing_cluster_and_can_be_canceled(tmp_path):
    async def main():
        async with driver_of(tmp_path, patience=timedelta(minutes=5)) as driver:
            odd = replace(call("echo", value=1), resources=Resources(custom=(("fish", 1.0),)))
            driver.executor.submit([odd])
            await asyncio.sleep(0.2)
            assert not driver.completions
            driver.executor.cancel([odd.attempt_id], grace=timedelta(seconds=5))
            (done,) = await driver.collect([odd], within=5)
            assert isinstance(outcome_error(done), RunCanceledError)

    asyncio.run(main())


def test_a_tool_that_stops_every_thread_of_its_worker_is_ended_at_its_timeout(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            mark = tmp_path / "mark"
            stuck = call("hog", mark=str(mark), timeout=0.3, grace=0.3)
            (done,) = await driver.run(stuck, within=30)
            assert isinstance(outcome_error(done), StepTimeoutError)
            assert is_gone((await appears(mark))[0])

    asyncio.run(main())


def test_a_tool_that_stops_every_thread_of_its_worker_is_ended_when_canceled(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            mark = tmp_path / "mark"
            stuck = call("hog", mark=str(mark))
            driver.executor.submit([stuck])
            (pid,) = await appears(mark)
            driver.executor.cancel([stuck.attempt_id], grace=timedelta(seconds=0.2))
            (done,) = await driver.collect([stuck], within=15)
            assert isinstance(outcome_error(done), RunCanceledError)
            assert is_gone(pid)

    asyncio.run(main())


def test_a_worker_killed_from_outside_is_lost(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            mark = tmp_path / "mark"
            attempt = call("wait", seconds=60, yields=False, mark=str(mark))
            driver.executor.submit([attempt])
            (pid,) = await appears(mark)
            os.kill(pid, signal.SIGKILL)
            (done,) = await driver.collect([attempt], within=20)
            assert isinstance(outcome_error(done), WorkerLostError)
            assert done.outcome.retryable

    asyncio.run(main())


SLEEPER = """
import os, pathlib, time
def sleep(mark):
    pathlib.Path(mark + ".new").write_text(str(os.getpid()))
    os.rename(mark + ".new", mark)
    time.sleep(600)
"""


def test_a_clean_child_ends_with_a_cancel(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
                archive.writestr("sleeper.py", SLEEPER)
            modules = FolderBlobs(str(tmp_path)).put((tmp_path / "modules.zip").read_bytes())
            mark = tmp_path / "mark"
            attempt = call("x", isolation=Isolation.PROCESS, mark=str(mark))
            attempt = replace(attempt, tool=replace(attempt.tool, target="sleeper:sleep", modules=modules))
            driver.executor.submit([attempt])
            (pid,) = await appears(mark)
            driver.executor.cancel([attempt.attempt_id], grace=timedelta(seconds=0.3))
            (done,) = await driver.collect([attempt], within=20)
            assert isinstance(outcome_error(done), RunCanceledError)
            assert is_gone(pid)

    asyncio.run(main())


def test_an_environment_is_a_worker_with_its_interpreter(tmp_path):
    async def main():
        async with driver_of(tmp_path) as driver:
            environment = BuiltEnvironment("key", sys.executable, 0.0, reused=True)
            missing = replace(environment, python=str(tmp_path / "python"))
            good = replace(call("echo", value=5), environment=environment)
            (done,) = await driver.run(good)
            assert isinstance(done.outcome, Succeeded)
            bad = replace(call("echo", value=5), environment=missing, isolation=Isolation.PROCESS)
            bad = replace(bad, tool=replace(bad.tool, target="posixpath:basename"))
            (failed,) = await driver.run(bad)
            assert isinstance(failed.outcome, Failed)
            assert failed.outcome.error.code == "environment_build"

    asyncio.run(main())


def test_a_function_runs_on_the_drivers_node_and_its_error_comes_back():
    async def main():
        runner = RayNodeRunner()
        assert await runner.run_on_node(max, 3, 4) == 4
        with pytest.raises(ValueError, match="invalid literal"):
            await runner.run_on_node(int, "x")

    asyncio.run(main())


def test_an_address_where_nobody_listens_is_refused_at_once_in_words():
    code = (
        "from shoal.executors.ray.cluster import connect\n"
        "try: connect('127.0.0.1:9')\n"
        "except Exception as e: print(e.code, e)\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("ray_unavailable no Ray cluster answers at 127.0.0.1:9")
    assert time.monotonic() - began < 15


LOST = """
import asyncio, json, os, signal, sys, threading
from datetime import timedelta
from pathlib import Path
from shoal.errors import RayUnavailableError
from shoal.executors import process_tree
from shoal.executors.ray import cluster
from shoal.executors.ray.executor import RayExecutor
from shoal.testing.executor_suite import Driver, FolderBlobs, appears, call
from shoal.testing.executor_tools import SuiteInvoker

folder = sys.argv[1]
found = {}
def in_thread():
    try: cluster.connect()
    except RayUnavailableError as error: found["thread"] = str(error)
thread = threading.Thread(target=in_thread); thread.start(); thread.join()
handler = lambda *a: None
signal.signal(signal.SIGTERM, handler); signal.signal(signal.SIGINT, handler)
connection = cluster.connect(num_cpus=1)
found["handlers"] = signal.getsignal(signal.SIGTERM) is handler and signal.getsignal(signal.SIGINT) is handler
found["address"] = connection.address
found["folder"] = str(connection.folder)

async def main():
    blobs = FolderBlobs(folder)
    executor = RayExecutor(invoker=SuiteInvoker(blobs), blobs=blobs)
    await executor.start()
    driver = Driver(executor)
    (died,) = await driver.run(call("leave", status=1, hard=True))
    found["died"] = died.outcome.error.code
    mark = Path(folder, "mark")
    executor.submit([call("wait", seconds=60, yields=True, mark=str(mark))])
    await appears(mark)
    for pid in process_tree.descendants(os.getpid()):
        if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\\0")[0]:
            os.kill(pid, signal.SIGKILL)
            found["killed"] = pid
    try:
        async with asyncio.timeout(30): found['early'] = repr(await executor.completions())
    except RayUnavailableError as error:
        found["lost"] = str(error)
    await driver.stop()
    print(json.dumps(found), flush=True)
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.own_ray
def test_a_local_ray_is_quiet_and_its_death_is_told(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LOST, str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"nothing but our own line on stdout: {done.stdout}\n{done.stderr}"
    found = json.loads(lines[0])
    assert "main thread only" in found["thread"]
    assert found["handlers"]
    assert found["died"] == "worker_lost"
    assert "is gone" in found["lost"]
