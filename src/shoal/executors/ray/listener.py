"""The orchestrator's side of the mailbox.

Owns the actor's life and the loop that polls it. An actor that cannot be reached is waited for and, if Ray gave it up, made
again; cancel flags that still matter are set again then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from shoal.executors.before import Before
from shoal.executors.ray.library import end_actor, load_ray, near_node
from shoal.executors.ray.mailbox import Mailbox
from shoal.executors.wire import unpack_completion, unpack_notice
from shoal.model.attempts import Completion, Notice
from shoal.model.ids import AttemptId

_POLL: Final = 5.0
"""Seconds that one poll may wait in the actor."""

_PAUSE: Final = 0.5
"""Seconds between two tries to reach an actor that does not answer."""


T = TypeVar("T")


class Listener:
    """Makes the mailbox, polls it, and hands on what it has.

    Args:
        name: Of the actor.
        namespace: Ray namespace of the actor.
        notice: Takes a notice, and what went before it.
        doom: Takes the completion that a worker announced before it ended itself, and what went before it.
        early: Takes what a worker gave back of a batch, packed.
    """

    def __init__(
        self,
        *,
        name: str,
        namespace: str,
        notice: Callable[[Notice, Before], None],
        doom: Callable[[Completion, Before], None],
        early: Callable[[bytes], None],
    ) -> None:
        self._name: Final = name
        self._namespace: Final = namespace
        self._notice: Final = notice
        self._doom: Final = doom
        self._early: Final = early
        self._actor: Any = None
        self._flags: Final[dict[AttemptId, float]] = {}
        self._ended: list[AttemptId] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make the mailbox and begin to poll it; returns before it is up."""
        self._make()
        self._task = asyncio.get_running_loop().create_task(self._listen())

    def flag(self, graces: Mapping[AttemptId, float]) -> None:
        """Set cancel flags; seconds from now until the attempts are ended."""
        now = time.monotonic()
        self._flags.update({a: now + seconds for a, seconds in graces.items()})
        self._send_flags(graces)

    def forget(self, attempt: AttemptId) -> None:
        """Drop a flag that is no longer needed."""
        if self._flags.pop(attempt, None) is not None:
            self._ended.append(attempt)

    async def stop(self) -> None:
        """Stop polling and end the mailbox. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._actor is not None:
            end_actor(self._actor)
        self._actor = None

    def _make(self) -> None:
        ray = load_ray()
        # max_restarts: Ray makes it again, empty, under its name. It stands beside the orchestrator where there is room.
        options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "name": self._name, "namespace": self._namespace}
        options["scheduling_strategy"] = near_node(ray.get_runtime_context().get_node_id())
        self._actor = ray.remote(**options)(Mailbox).remote()

    def _send_flags(self, graces: Mapping[AttemptId, float]) -> None:
        if self._actor is not None and graces:
            self._actor.flag.remote(dict(graces))

    async def _listen(self) -> None:
        failures = 0
        while True:
            ended, self._ended = self._ended, []
            try:
                notices, dooms, early = await self._actor.poll.remote(ended, _POLL)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - Ray raises what it likes; progress may be lost, the loop may not
                failures += 1
                await asyncio.sleep(_PAUSE)
                if type(error).__name__ == "ActorDiedError":
                    # In a thread: without its control service Ray holds the caller for a minute.
                    await asyncio.to_thread(self._make_again)
                continue
            if failures:
                failures = 0
                now = time.monotonic()
                self._send_flags({a: max(0.0, end - now) for a, end in self._flags.items()})
            self._hand_on(notices, dooms, early)

    def _hand_on(self, notices: Sequence[bytes], dooms: Sequence[bytes], early: Sequence[bytes]) -> None:
        for data in notices:
            if (notice := _read(unpack_notice, data)) is not None:
                self._notice(*notice)
        for data in dooms:
            if (doom := _read(unpack_completion, data)) is not None:
                self._doom(*doom)
        for data in early:
            self._early(data)

    def _make_again(self) -> None:
        try:
            self._make()
        except Exception:  # noqa: BLE001, S110 - the name may not be free yet, or Ray be gone; the next poll fails and tries again
            pass


def _read(unpack: Callable[[bytes], T], data: bytes) -> T | None:
    """Return what a worker said; None for nonsense, since a tool may have put anything in the place of what we pack with."""
    try:
        return unpack(data)
    except Exception:  # noqa: BLE001 - see above
        return None
