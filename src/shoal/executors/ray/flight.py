"""An attempt between its submission and its completion, as the driver's side of the Ray executor knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from shoal.executors.before import Before, Received
from shoal.model.attempts import AttemptCall, Completion

if TYPE_CHECKING:
    from shoal.executors.ray.pool import Batch


class Carrier(Protocol):
    """One way for attempts to a Ray worker: a Ray task each, or warm workers."""

    def send(self, flight: Flight) -> None:
        """Begin to carry an attempt."""
        ...

    def drop(self, flight: Flight, grace: float) -> bool:
        """Take a canceled attempt back; false: a worker may have it, or Ray will say that it was dropped.

        Args:
            flight: The attempt.
            grace: Seconds that it has left if it runs.
        """
        ...

    def end(self, flight: Flight) -> None:
        """End the worker of an attempt that has not yielded, with whatever runs in it."""
        ...


@dataclass(slots=True, eq=False)
class Flight:
    """An attempt under way.

    Attributes:
        carrier: Who carries it; None: it waits for a node that could.
        sent: Monotonic time at which it was handed to the carrier.
        batch: What it was sent to a warm worker with; None: it waits for one, or has a task.
        dropped: It has ended; if it still waits somewhere, it is not carried.
        alone: It was suspected of the loss of a worker that carried others too; it gets a task of its own.
        started: Monotonic time of its first notice.
        received: What has arrived of it.
        end: Its completion, and what goes before it, while that is waited for.
        doom: The completion that its worker announced before it ended itself, and what went before it.
        lost: Ray's error, while a `doom` is waited for.
    """

    call: AttemptCall
    carrier: Carrier | None = None
    sent: float = 0.0
    batch: Batch | None = None
    dropped: bool = False
    alone: bool = False
    canceled: bool = False
    overdue: bool = False
    forced: bool = False
    started: float | None = None
    started_at: datetime | None = None
    received: Received | None = None
    end: tuple[Completion, Before] | None = None
    doom: tuple[Completion, Before] | None = None
    lost: BaseException | None = None
