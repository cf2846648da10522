"""Other systems on the same work, each round in turn with Shoal. A peer that cannot be set up or fails is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import place
from benchmarks.bench import Bench, Figures, Round, Row, in_turn
from benchmarks.peers import environments
from benchmarks.probes.answering import Stopwatch
from benchmarks.rows import command, speed


@dataclass(frozen=True, slots=True)
class Peer:
    """Another system.

    Attributes:
        name: Of its figures and its requirements.
        script: That measures it.
        sizes: Of the full measurement; a slow system has smaller ones.
        owns_ray: Whether it has a Ray of its own, for which ours makes room.
    """

    name: str
    script: str
    sizes: Mapping[str, int]
    owns_ray: bool = False


SYSTEMS: Final = (
    Peer("ray-workflow", "ray_workflow.py", {"chain": 100, "fanout": 500, "runs": 100}, owns_ray=True),
    Peer("prefect", "prefect_local.py", {"chain": 50, "fanout": 200}),
    Peer("dbos", "dbos_sqlite.py", {"chain": 300, "fanout": 1_000, "runs": 500, "at_once": 32}),
    Peer("restate", "restate_bench.py", {"chain": 300, "fanout": 2_000, "runs": 1_000, "at_once": 32}),
)
_QUICK: Final = 10
"""By how much the sizes are divided for a quick look."""


def _prepared(bench: Bench) -> dict[str, Callable[[], Figures]]:
    """Build what each peer needs; return what measures those that could be set up."""
    sides: dict[str, Callable[[], Figures]] = {}
    for peer in SYSTEMS:
        try:
            python = environments.build(peer.name, bench.tell)
            more = {"server": str(environments.restate_server(bench.tell))} if peer.name == "restate" else {}
        except (place.MeasurementError, OSError) as error:
            bench.absent[peer.name] = f"cannot be set up: {error}"
            bench.tell(f"  {peer.name} cannot be set up: {error}")
            continue
        sides[peer.name] = lambda p=peer, python=python, more=more: _measured(bench, p, python, more)
        if peer.name == "dbos":
            sides["dbos-command"] = lambda python=python: _dbos_command(bench, python)
    return sides


def _measured(bench: Bench, peer: Peer, python: Path, more: Mapping[str, str]) -> Figures:
    divisor = 1 if bench.sizes.rounds > 1 else _QUICK
    sizes = {name: n if name == "at_once" else max(2, n // divisor) for name, n in peer.sizes.items()}
    question = json.dumps({**sizes, **more, "folder": str(bench.place.home())})
    with bench.ray.away() if peer.owns_ray else nullcontext():
        out = place.run([str(python), str(environments.SCRIPTS / peer.script), question], _variables())
    return {f"{peer.name}.{what}": value for what, value in place.last_object(out).items()}


def _dbos_command(bench: Bench, python: Path) -> Figures:
    line = [str(python), str(environments.SCRIPTS / "dbos_one.py"), str(bench.place.home())]
    watch = Stopwatch()
    place.run(line, _variables())
    return {"dbos.command": watch.seconds}


def _variables() -> dict[str, str]:
    variables = place.environment()
    del variables["PYTHONPATH"]
    return variables


def _shoal(bench: Bench) -> Figures:
    with command.session(bench) as commands:
        told = commands(0)
    return {
        "shoal.chain": speed.chain(bench)["shoal"],
        "shoal.fanout": speed.fanout(bench, "wide")["wide"],
        "shoal.runs": speed.runs(bench)["shoal"],
        "shoal.command_up": told["up"],
        "shoal.command_inline": told["inline"],
    }


@contextmanager
def _session(bench: Bench) -> Iterator[Round]:
    sides = _prepared(bench)

    def tried(name: str, side: Callable[[], Figures]) -> Figures:
        try:
            return side()
        except place.MeasurementError as error:
            bench.absent[name.removesuffix("-command")] = str(error)
            bench.tell(f"  {name}: {error}")
            return {}

    def measure(number: int) -> Figures:
        each = [lambda name=name, side=side: tried(name, side) for name, side in sides.items()]
        return in_turn(number, [lambda: _shoal(bench), *each])

    yield measure


PEERS: Final = Row("peers", "other systems on the same work", _session, long=True)
