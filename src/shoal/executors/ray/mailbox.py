"""The mailbox: what workers under way tell their orchestrator, and the cancel flags that it sets them.

Owns the actor and the worker's side of it. Losing the actor loses progress and log pieces under way, never a result; Ray
starts it again under its name, empty. Nobody waits for it: the worker's calls are made in a thread of their own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from shoal.executors.attempt import Attempt
from shoal.executors.ray.library import load_ray
from shoal.executors.wire import pack_notice
from shoal.model.ids import AttemptId

BACKLOG: Final = 64 * 1024 * 1024
"""Bytes of notices that wait for an orchestrator; beyond, the oldest are dropped."""

PERIOD: Final = 0.1
"""Seconds between two looks at whether an attempt has something to tell."""

HEARTBEAT: Final = 0.4
"""Seconds between two reports of one that has not; a cancel flag is late by this much at most."""

_PATIENCE: Final = 2.0
"""Seconds that a report waits for an answer of the mailbox."""

_LAST_WORDS: Final = 5.0
"""Seconds that a worker which is about to end itself waits for it; the mailbox may just be starting."""


class Mailbox:
    """The actor. One for each orchestrator; without CPU, on its node."""

    def __init__(self) -> None:
        self._notices: Final[deque[bytes]] = deque()
        self._size = 0
        self._verdicts: list[bytes] = []
        self._early: list[bytes] = []
        self._flags: Final[dict[str, float]] = {}
        self._something: Final = asyncio.Event()

    async def report(self, attempt_id: str, notice: bytes | None) -> float | None:
        """Take a notice, or a mere heartbeat; return the seconds of grace left if the attempt's cancel flag is set."""
        if notice is not None:
            self._notices.append(notice)
            self._size += len(notice)
            while self._size > BACKLOG:
                self._size -= len(self._notices.popleft())
            self._something.set()
        end = self._flags.get(attempt_id)
        return None if end is None else max(0.0, end - time.monotonic())

    async def condemn(self, completion: bytes) -> None:
        """Take the end of an attempt whose worker is about to end itself."""
        self._verdicts.append(completion)
        self._something.set()

    async def give_back(self, reply: bytes) -> None:
        """Take what a worker gives back of a batch that takes longer than expected."""
        self._early.append(reply)
        self._something.set()

    async def flagged(self, attempts: list[str]) -> list[str]:
        """Return which attempts have their cancel flag set."""
        return [attempt for attempt in attempts if attempt in self._flags]

    async def flag(self, graces: dict[str, float]) -> None:
        """Set cancel flags: attempt ids, and the seconds from now until they are ended."""
        now = time.monotonic()
        for attempt_id, grace in graces.items():
            self._flags[attempt_id] = min(now + grace, self._flags.get(attempt_id, now + grace))

    async def poll(self, ended: list[str], timeout: float) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Wait until there is something, or `timeout` seconds; return notices, verdicts and what workers gave back.

        Args:
            ended: Attempts whose flags are no longer needed.
            timeout: Seconds.
        """
        for attempt_id in ended:
            self._flags.pop(attempt_id, None)
        try:
            async with asyncio.timeout(timeout):
                await self._something.wait()
        except TimeoutError:
            pass
        self._something.clear()
        notices, verdicts, early = list(self._notices), self._verdicts, self._early
        self._notices.clear()
        self._size, self._verdicts, self._early = 0, [], []
        return notices, verdicts, early


class Post:
    """A worker's side of the mailbox, in a thread that is started with the first attempt that is not young any more.

    Attributes:
        batch: Closes the batch under way and returns what is to be given back of it, packed; None: there is none.
    """

    def __init__(self, *, name: str, namespace: str) -> None:
        self._name: Final = name
        self._namespace: Final = namespace
        self._attempt: Attempt | None = None
        self._wanted: Final = threading.Event()
        self._handle: Any = None
        self._started = False
        self._next_at = 0.0
        self._beat_at = 0.0
        self.batch: Callable[[], bytes | None] | None = None

    def tell(self, attempt: Attempt) -> None:
        """Report on an attempt soon; returns at once."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="shoal-post", daemon=True).start()
        self._attempt = attempt
        if time.monotonic() >= self._next_at:
            self._wanted.set()

    def condemn(self, completion: bytes) -> None:
        """Deliver the end of an attempt, if the mailbox answers in time. Never raises."""
        try:
            load_ray().get(self._mailbox().condemn.remote(completion), timeout=_LAST_WORDS)
        except Exception:  # noqa: BLE001 - Ray raises what it likes; the orchestrator then judges by itself
            self._handle = None

    def flagged(self, attempts: Sequence[AttemptId]) -> frozenset[str]:
        """Return which attempts are canceled, if the mailbox answers in time; none else. Never raises."""
        try:
            return frozenset(load_ray().get(self._mailbox().flagged.remote(list(attempts)), timeout=_PATIENCE))
        except Exception:  # noqa: BLE001 - Ray raises what it likes; a flag that is missed here comes with a report
            self._handle = None
            return frozenset()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._next_at = time.monotonic() + PERIOD
            attempt = self._attempt
            if attempt is not None:
                self._report(attempt)

    def _give_back(self) -> None:
        """Let go of what waits behind a long attempt; if that is lost it comes with the batch's answer."""
        batch = self.batch
        data = batch() if batch is not None else None
        if data is not None:
            try:
                load_ray().get(self._mailbox().give_back.remote(data), timeout=_PATIENCE)
            except Exception:  # noqa: BLE001 - Ray raises what it likes
                self._handle = None

    def _report(self, attempt: Attempt) -> None:
        self._give_back()
        told = attempt.notice()
        if told is None and time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + HEARTBEAT
        attempt_id: AttemptId = attempt.call.attempt_id
        try:
            ref = self._mailbox().report.remote(attempt_id, None if told is None else pack_notice(*told))
            grace = load_ray().get(ref, timeout=_PATIENCE)
        except Exception:  # noqa: BLE001 - Ray raises what it likes; what an attempt does must not depend on the mailbox
            self._handle = None
            self._next_at = time.monotonic() + _PATIENCE
            if told is not None:
                attempt.take_back(told[0])
            return
        if told is not None:
            attempt.acknowledge(told[0])
        if grace is not None:
            attempt.cancel(grace)

    def _mailbox(self) -> Any:
        if self._handle is None:
            self._handle = load_ray().get_actor(self._name, namespace=self._namespace)
        return self._handle
