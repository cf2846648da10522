"""How long a run with many recorded steps takes to go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.bench import Bench, Figures, Round, Row

FORMS: Final = ("foreach", "wide")


@contextmanager
def _session(bench: Bench) -> Iterator[Round]:
    """Record the runs once; every round resumes copies of them."""
    recorded = bench.place.home()
    for form in FORMS:
        bench.tell(f"  recording a run of {bench.sizes.many_items:,} steps ({form})")
        bench.shoal("record", recorded / form, form=form, n=bench.sizes.many_items)

    def measure(_: int) -> Figures:
        figures: dict[str, float] = {}
        for form in FORMS:
            home = bench.place.home() / form
            shutil.copytree(recorded / form, home)
            figures[form] = bench.shoal("resume", home, form=form)["seconds"]
        return figures

    yield measure


RESUME: Final = Row("resume", "time until a resumed run goes on", _session)
