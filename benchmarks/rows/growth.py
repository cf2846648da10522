"""What must not grow with a run: the time of a step, and the orchestrator's memory."""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench, Figures, Row, in_turn, plain


def _scale_round(bench: Bench, number: int) -> Figures:
    few, many = bench.sizes.few, bench.sizes.many_steps

    def side(name: str, form: str, n: int) -> Figures:
        return {name: bench.ms_per_step(form, n)["user"]}

    return in_turn(
        number,
        [
            lambda: side("foreach_few", "foreach-512", few),
            lambda: side("foreach_many", "foreach-512", many),
            lambda: side("wide_few", "wide-bare", few),
            lambda: side("wide_many", "wide-bare", many),
        ],
    )


def _memory_round(bench: Bench, number: int) -> Figures:
    few, many = bench.sizes.few, bench.sizes.many_items

    def grown(form: str, n: int) -> float:
        return bench.shoal("memory", form=form, n=n)["grown_bytes"]

    def per_step() -> Figures:
        return {"wide_per_step": grown("wide", bench.sizes.fanout) / bench.sizes.fanout / 1024}

    def mebibytes(name: str, form: str, n: int) -> Figures:
        return {name: grown(form, n) / 1024**2}

    return in_turn(
        number,
        [
            per_step,
            lambda: mebibytes("foreach_few", "foreach-512", few),
            lambda: mebibytes("foreach_many", "foreach-512", many),
            lambda: mebibytes("continuations_few", "continuations", few),
            lambda: mebibytes("continuations_many", "continuations", many),
        ],
    )


SCALE: Final = Row("scale", "time per step in a large run", plain(_scale_round), long=True)
MEMORY: Final = Row("memory", "the orchestrator's memory", plain(_memory_round), long=True)
