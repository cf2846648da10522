"""Environments of tools: the first build, and the reuse after Ray was restarted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks import place
from benchmarks.bench import Bench, Figures, Round, Row, in_turn
from benchmarks.peers import environments as peers

PACKAGES: Final = ("toolz==1.0.0", "humanize==4.12.3", "tabulate==0.9.0", "inflection==0.5.1", "more-itertools==10.7.0")
"""Small pure packages that the base environment does not have; another one each round, so that nothing is there already."""


@contextmanager
def _build_session(bench: Bench) -> Iterator[Round]:
    bench.ray.must_be_ours()
    python = peers.build("ray-pip", bench.tell)

    def ours(package: str) -> Figures:
        home = bench.place.home()
        # uv's cache is as cold as pip's: the lock is made by the driver, the environment on the node.
        cache = {"UV_CACHE_DIR": str(home / "uv-cache")}
        question = {"address": bench.ray.restart(**cache), "home": str(home / "home"), "requirement": package}
        return {"shoal": place.probe("shoal_side", "one_run", variables=cache, **question)["seconds"]}

    def plugin(package: str) -> Figures:
        variables = place.environment(PIP_CACHE_DIR=str(bench.place.home()))
        with bench.ray.away():
            out = place.run([str(python), str(peers.SCRIPTS / "ray_pip.py"), package], variables)
        return {"ray_pip": place.last_object(out)["build_seconds"]}

    def measure(number: int) -> Figures:
        package = PACKAGES[number % len(PACKAGES)]
        return in_turn(number, [lambda: ours(package), lambda: plugin(package)])

    try:
        yield measure
    finally:
        bench.ray.stop()  # its uv cache is of this row only


@contextmanager
def _reuse_session(bench: Bench) -> Iterator[Round]:
    bench.ray.must_be_ours()
    home = bench.place.home()
    bench.shoal("one_run", home, requirement=PACKAGES[0])

    def ours() -> Figures:
        return {"shoal": bench.shoal("one_run", home, requirement=PACKAGES[0])["seconds"]}

    def measure(number: int) -> Figures:
        bench.ray.restart()
        return in_turn(number, [ours, lambda: bench.bare("fresh_worker")])

    yield measure


BUILD: Final = Row("build", "first build of an environment", _build_session, long=True)
REUSE: Final = Row("reuse", "reuse of an environment after a Ray restart", _reuse_session)
