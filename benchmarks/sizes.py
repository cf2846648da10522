"""How much is measured: the sizes of the goals, and small ones for a look whether the suite works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Steps, runs and seconds of one round.

    Attributes:
        chain: Steps of the chain.
        fanout: Steps of the fan-out.
        runs: One-step runs; `at_once` callers.
        few: The small size of rows about growth.
        many_steps: The large size of the time per step.
        many_items: The large size of the memory and of the resume.
        warm: Seconds of warm-up of each probe, at least two runs.
        rounds: Most rounds of a long row; other rows have as many as are asked for.
    """

    chain: int = 300
    fanout: int = 5_000
    runs: int = 960
    at_once: int = 32
    few: int = 1_000
    many_steps: int = 20_000
    many_items: int = 10_000
    warm: float = 4.0
    rounds: int = 3


FULL: Final = Sizes()
QUICK: Final = Sizes(chain=20, fanout=100, runs=32, at_once=8, few=50, many_steps=200, many_items=100, warm=0.5, rounds=1)
