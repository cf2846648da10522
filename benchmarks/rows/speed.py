"""Speed of steps and runs: the chain, the fan-out, many runs at once."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Figures, Row, in_turn, plain

FORMS: Final = ("wide", "foreach", "foreach-512")


def chain(bench: Bench) -> Figures:
    """Return Shoal's milliseconds per step of the chain."""
    told = bench.ms_per_step("chain", bench.sizes.chain)
    return {"shoal": told["user"], "shoal_journal": told["journal"]}


def fanout(bench: Bench, form: str) -> Figures:
    """Return Shoal's steps/s of one form of the fan-out, and the seconds it took to load its file."""
    told = bench.ms_per_step(form, bench.sizes.fanout)
    return {form: 1e3 / told["user"], f"{form}_journal": 1e3 / told["journal"], f"{form}_loading": told["loading"]}


def runs(bench: Bench) -> Figures:
    """Return Shoal's one-step runs/s."""
    sizes = bench.sizes
    return {"shoal": bench.shoal("runs", n=sizes.runs, at_once=sizes.at_once, warm=sizes.warm)["runs_per_s"]}


def _chain_round(bench: Bench, number: int) -> Figures:
    sizes = bench.sizes

    def bare() -> Figures:
        return bench.bare("chain", n=sizes.chain, warm=sizes.warm / 2, folder=str(bench.place.folder))

    return in_turn(number, [lambda: chain(bench), bare])


def _fanout_round(bench: Bench, number: int) -> Figures:
    sizes = bench.sizes

    def bare() -> Figures:
        return bench.bare("fanout", n=sizes.fanout, warm=sizes.warm / 2)

    first, *others = FORMS
    return in_turn(number, [lambda: fanout(bench, first), bare, *(lambda f=form: fanout(bench, f) for form in others)])


CHAIN: Final = Row("chain", "time per step of a chain", plain(_chain_round))
FANOUT: Final = Row("fanout", "steps/s of a fan-out", plain(_fanout_round))
RUNS: Final = Row("runs", "one-step runs/s", plain(lambda bench, _: runs(bench)))
