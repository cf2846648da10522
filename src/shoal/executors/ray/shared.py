"""Attempts that only wait, many in the event loop of one actor without CPUs.

Owns the actor, started with the first such attempt, and both sides of the way there. The death of the actor loses its attempts
like those of any worker; the next one starts another.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from shoal.executors.attempt import outran, stopped
from shoal.executors.before import Before
from shoal.executors.ray.arrivals import Arrivals
from shoal.executors.ray.flight import Flight
from shoal.executors.ray.library import end_actor, load_ray, near_node
from shoal.executors.wire import pack_completion, unpack_completion
from shoal.model.attempts import AttemptCall, Completion, Outcome
from shoal.model.ids import AttemptId
from shoal.ports import AttemptControl

_SLOTS: Final = 100_000
"""Attempts that one actor carries; each is a coroutine."""


class SharedLoop:
    """The actor. User code runs in it."""

    def __init__(self, kit: bytes) -> None:
        self._invoker: Final = pickle.loads(kit).invoker  # noqa: S301 - a worker; its executor made it
        self._tasks: Final[dict[str, asyncio.Task[Outcome]]] = {}
        self._node: Final = str(load_ray().get_runtime_context().get_node_id())

    async def carry(self, data: bytes) -> bytes:
        """Carry out a pickled call and return its packed completion."""
        call: AttemptCall = pickle.loads(data)  # noqa: S301 - a worker; its executor made it
        started = datetime.now(UTC)
        control = AttemptControl(lambda _progress: None, lambda: False)
        task = self._tasks[call.attempt_id] = asyncio.ensure_future(self._invoker.wait(call, control))
        seconds = call.timeout.total_seconds() if call.timeout is not None else None
        try:
            outcome = await asyncio.wait_for(task, seconds)
        except TimeoutError:
            outcome = outran(call)
        except asyncio.CancelledError:
            outcome = stopped(call)
        finally:
            self._tasks.pop(call.attempt_id, None)
        return pack_completion(Completion(call.attempt_id, outcome, started, datetime.now(UTC), node=self._node))

    async def drop(self, attempt_id: AttemptId) -> None:
        """Cancel an attempt."""
        task = self._tasks.get(attempt_id)
        if task is not None:
            task.cancel()


class SharedCarrier:
    """The `Carrier` of attempts with the isolation `shared`."""

    def __init__(
        self,
        kit: bytes,
        arrivals: Arrivals,
        *,
        done: Callable[[Completion, Before], None],
        broken: Callable[[Flight, BaseException], None],
    ) -> None:
        """Carry calls to an actor that is made of `kit`.

        Args:
            kit: A pickled `Kit`.
            arrivals: Hands answers over.
            done: Told of what the actor answers.
            broken: Told of what Ray answers instead.
        """
        self._kit: Final = kit
        self._arrivals: Final = arrivals
        self._done: Final = done
        self._broken: Final = broken
        self._actor: Any = None

    def send(self, flight: Flight) -> None:
        """Begin to carry an attempt."""
        if self._actor is None:
            ray = load_ray()
            node = str(ray.get_runtime_context().get_node_id())
            options = {"num_cpus": 0, "max_concurrency": _SLOTS, "scheduling_strategy": near_node(node)}
            self._actor = ray.remote(**options)(SharedLoop).remote(self._kit)
        ref = self._actor.carry.remote(pickle.dumps(flight.call, protocol=5))
        self._arrivals.watch(ref, partial(self._take, flight))

    def drop(self, flight: Flight, grace: float) -> bool:  # noqa: ARG002 - a coroutine yields at once, or never
        """Cancel an attempt; it counts as ended, whatever the actor says of it later."""
        self.end(flight)
        return True

    def end(self, flight: Flight) -> None:
        """Cancel an attempt."""
        if self._actor is not None:
            self._actor.drop.remote(flight.call.attempt_id)

    def close(self) -> None:
        """End the actor."""
        if self._actor is not None:
            end_actor(self._actor)
            self._actor = None

    def _take(self, flight: Flight, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._done(*unpack_completion(future.result()))
            return
        self._actor = None  # whatever it was, another actor is worth a try
        self._broken(flight, error)
