"""A Ray task for each attempt.

Owns submission and the end of a task's worker. Serves `isolation: task` and `process`, GPUs and custom resources, attempts
that are suspected of a worker's loss, and whatever a pool cannot be had for.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from shoal.executors.before import Before
from shoal.executors.ray.arrivals import Arrivals
from shoal.executors.ray.flight import Flight
from shoal.executors.ray.library import load_exceptions, load_ray
from shoal.executors.ray.tasks import Tasks
from shoal.executors.wire import unpack_completion
from shoal.model.attempts import Completion

_PATIENCE: Final = 0.5
"""Seconds after which a task that has told nothing may be waiting for CPUs that warm workers hold."""


class TaskCarrier:
    """The `Carrier` of attempts that have a Ray task of their own."""

    def __init__(
        self,
        tasks: Tasks,
        arrivals: Arrivals,
        *,
        done: Callable[[Completion, Before], None],
        broken: Callable[[Flight, BaseException], None],
    ) -> None:
        """Hand completions, each with what went before it, to `done`; Ray's errors to `broken`."""
        self._tasks: Final = tasks
        self._arrivals: Final = arrivals
        self._done: Final = done
        self._broken: Final = broken
        self._refs: Final[dict[Flight, Any]] = {}
        self._cpus = 0.0

    def send(self, flight: Flight) -> None:
        """Submit a task."""
        ref = self._refs[flight] = self._tasks.of(flight.call).remote(pickle.dumps(flight.call, protocol=5))
        self._cpus += _cpus(flight)
        self._arrivals.watch(ref, partial(self._answered, flight))

    def drop(self, flight: Flight, grace: float) -> bool:
        """Let Ray drop the task if it is queued, or set the flag of its attempt; its answer says which."""
        del grace  # the mailbox tells it
        ref = self._refs.get(flight)
        if ref is not None:  # else its answer is here, and waits for the rest of what it told
            load_ray().cancel(ref, force=False)
        return False

    def end(self, flight: Flight) -> None:
        """End the worker."""
        if flight in self._refs:
            load_ray().cancel(self._refs[flight], force=True)

    def forget(self, flight: Flight) -> None:
        """Let go of an attempt that has ended, whatever becomes of its task."""
        if self._refs.pop(flight, None) is not None:
            self._cpus = self._cpus - _cpus(flight) if self._refs else 0.0

    def wants(self) -> tuple[float, bool]:
        """Return the CPUs that tasks under way take, and whether one of them may be waiting for some."""
        oldest = next((f for f in self._refs if f.started is None), None)
        return self._cpus, oldest is not None and time.monotonic() - oldest.sent > _PATIENCE

    def _answered(self, flight: Flight, future: Future[Any]) -> None:
        self.forget(flight)
        error = future.exception()
        if error is not None:
            self._broken(flight, error)
            return
        try:
            answer = unpack_completion(future.result())
        except Exception:  # noqa: BLE001 - a tool may have put anything in the place of what we pack with
            self._broken(flight, load_exceptions().WorkerCrashedError())
        else:
            self._done(*answer)


def _cpus(flight: Flight) -> float:
    own = flight.call.resources.cpus
    return 1.0 if own is None else own
