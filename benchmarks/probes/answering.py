"""How a probe is asked and answers: a JSON object as its only argument, one JSON object as its last line on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Figures = dict[str, float]


def answer(measures: Mapping[str, Callable[..., Figures]]) -> None:
    """Carry out the measure that the argument names, with its parameters, and print its figures."""
    question: dict[str, Any] = json.loads(sys.argv[1])
    figures = measures[question.pop("measure")](**question)
    sys.stdout.write(json.dumps(figures) + "\n")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Return the seconds that have passed."""
        return time.perf_counter() - self._begun
