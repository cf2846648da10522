"""Bare Ray's side: plain tasks, and a warm actor with one fsync a call. Of Shoal it has only the way to attach.

Functions are closures, so that Ray pickles them by value and a worker imports nothing of the suite.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from benchmarks.probes.answering import Figures, Stopwatch, answer
from shoal.executors.ray.cluster import connect


def _attach(address: str) -> None:
    # The same settings, and token if there is one, as on the other side.
    connect(address)


def _task() -> Any:
    def noop(x: object) -> object:
        return x

    return ray.remote(noop)


def _actor() -> Any:
    class Warm:
        def call(self, x: object) -> object:
            return x

    return ray.remote(num_cpus=0)(Warm).remote()


def _warm(call: Callable[[], object], seconds: float) -> None:
    """Call for at least so long, and twice at least."""
    watch, calls = Stopwatch(), 0
    while calls < 2 or watch.seconds < seconds:  # noqa: PLR2004 - twice
        call()
        calls += 1


def chain(address: str, n: int, warm: float, folder: str) -> Figures:
    """Measure tasks awaited one by one, and calls of a warm actor with an append and an fsync after each; ms a step."""
    _attach(address)
    task, actor = _task(), _actor()
    _warm(lambda: ray.get([task.remote(i) for i in range(100)]), warm)
    _warm(lambda: ray.get(actor.call.remote(0)), warm / 4)
    watch = Stopwatch()
    for i in range(n):
        ray.get(task.remote(i))
    tasks = watch.seconds
    file = Path(folder) / f"fsync-{uuid.uuid4().hex}"
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    watch = Stopwatch()
    for i in range(n):
        ray.get(actor.call.remote(i))
        os.write(handle, b"x" * 256)
        os.fsync(handle)
    actors = watch.seconds
    os.close(handle)
    file.unlink()
    return {"tasks": tasks / n * 1e3, "actor_fsync": actors / n * 1e3}


def fanout(address: str, n: int, warm: float) -> Figures:
    """Measure `ray.get` of a list of tasks; tasks/s."""
    _attach(address)
    task = _task()
    _warm(lambda: ray.get([task.remote(i) for i in range(200)]), warm)
    watch = Stopwatch()
    values = ray.get([task.remote(i) for i in range(n)])
    seconds = watch.seconds
    if values != list(range(n)):
        raise AssertionError("the tasks returned something else")
    return {"tasks": n / seconds}


def fresh_worker(address: str) -> Figures:
    """Measure one task whose runtime_env makes Ray start a new worker process; seconds."""
    _attach(address)
    task = _task()
    ray.get(task.remote(0))
    changed = task.options(runtime_env={"env_vars": {"FRESH": uuid.uuid4().hex}})
    watch = Stopwatch()
    ray.get(changed.remote(1))
    return {"fresh_worker": watch.seconds}


if __name__ == "__main__":
    answer({"chain": chain, "fanout": fanout, "fresh_worker": fresh_worker})
