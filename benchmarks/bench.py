"""What a row is, and what it works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import place
from benchmarks.cluster import LocalRay
from benchmarks.sizes import Sizes

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """The means of one run of the suite.

    Attributes:
        sizes: How much is measured.
        ray: The Ray that both sides share.
        place: Folders of the run.
        tell: Takes a line about how it goes.
        absent: Why a side of the row cannot be measured, by its name; a row adds to it.
    """

    sizes: Sizes
    ray: LocalRay
    place: place.Place
    tell: Callable[[str], None]
    absent: dict[str, str] = field(default_factory=dict[str, str])

    def shoal(self, measure: str, home: Path | None = None, **question: object) -> dict[str, float]:
        """Measure Shoal's side on the shared Ray, in a fresh home unless one is given."""
        where = home or self.place.home()
        return place.probe("shoal_side", measure, address=self.ray.address, home=str(where), **question)

    def bare(self, measure: str, **question: object) -> dict[str, float]:
        """Measure bare Ray's side on the shared Ray."""
        return place.probe("ray_side", measure, address=self.ray.address, **question)

    def ms_per_step(self, form: str, n: int) -> dict[str, float]:
        """Return milliseconds per step of a form: `user`, waited for, and `journal`, from the run's start to its end."""
        told = self.shoal("timed_run", form=form, n=n, warm=self.sizes.warm)
        return {"user": told["seconds"] / n * 1e3, "journal": told["journal"] / n * 1e3, "loading": told["loading"]}


Round = Callable[[int], Figures]
"""Measures one round, by its number from 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the suite: one set-up, then rounds in which all sides are measured in turn.

    Attributes:
        name: On the command line, and before the dot in its figures' names.
        about: In words.
        session: Sets up, yields what measures a round, and takes down.
        long: Whether its rounds are limited by `Sizes.rounds`.
    """

    name: str
    about: str
    session: Callable[[Bench], AbstractContextManager[Round]]
    long: bool = False


def plain(measure: Callable[[Bench, int], Figures]) -> Callable[[Bench], AbstractContextManager[Round]]:
    """Return the session of a row that needs no set-up."""

    @contextmanager
    def session(bench: Bench) -> Iterator[Round]:
        yield lambda number: measure(bench, number)

    return session


def in_turn(number: int, sides: Sequence[Callable[[], Figures]]) -> Figures:
    """Measure sides one after the other, in reverse order in every second round, so that neither is always the first."""
    figures: dict[str, float] = {}
    for side in sides if number % 2 == 0 else list(reversed(sides)):
        figures.update(side())
    return figures
