"""Environments on a cluster of two nodes: a build runs where it is wanted, once on a host."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wheels import make_wheel

DRIVER = """
import asyncio, json, os, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from shoal.environments.provider import UvEnvironments
from shoal.errors import WorkerLostError
from shoal.executors.ray.node import RayNodeRunner
from shoal.stores.blobs import FileBlobStore

def where():
    return ray.get_runtime_context().get_node_id()

async def main(home, links):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, namespace="shoal", log_to_driver=False)
    try:
        runner = RayNodeRunner()
        ids = [runner.here(), second.node_id]
        assert [await runner.run_on_node(where, node=n) for n in ids] == ids
        told = {}

        def provider():
            variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links, "PIP_CONFIG_FILE": os.devnull}
            return UvEnvironments(Path(home) / "environments", FileBlobStore(home + "/blobs"), runner, variables=variables)

        one = provider()
        locks = [await one.lock([f"dep=={v}"], process=False, base_dir=None) for v in ("1", "2")]
        there = await one.build(locks[0], node=ids[1])
        here = await one.build(locks[0], node=ids[0])
        told["built on the second, found on the first"] = [there.reused, here.reused, there.python == here.python]
        both = await asyncio.gather(*(p.build(locks[1], node=n) for p, n in ((one, ids[0]), (provider(), ids[1]))))
        told["of two at once one builds"] = sorted(b.reused for b in both)
        call = ray.remote(num_cpus=0)(lambda: (__import__("dep").VERSION, where()))
        from shoal.executors.ray.library import on_node
        runs = [
            call.options(runtime_env={"py_executable": b.python}, scheduling_strategy=on_node(n)).remote()
            for b, n in zip(both, ids)
        ]
        told["workers of both see it"] = [list(found) for found in await asyncio.gather(*runs)] == [["2", n] for n in ids]
        try:
            await one.build(locks[0], node="a" * 56)
        except WorkerLostError as error:
            told["no such node"] = error.code
        print(json.dumps(told))
    finally:
        ray.shutdown()
        cluster.shutdown()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.own_ray
def test_an_environment_is_built_on_the_node_that_wants_it_once_on_a_host(tmp_path):
    import json

    for version in ("1", "2"):
        make_wheel(tmp_path / "links", "dep", version, {"dep.py": f"VERSION = {version!r}\n"})
    (tmp_path / "driver.py").write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "home"), str(tmp_path / "links")],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "built on the second, found on the first": [False, True, True],
        "of two at once one builds": [False, True],
        "workers of both see it": True,
        "no such node": "worker_lost",
    }
