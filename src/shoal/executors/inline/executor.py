"""The inline executor: attempts in threads of the orchestrator's process.

Owns the threads and the judgement when one of them no longer counts. A thread cannot be ended: an attempt that does not
yield is abandoned, its late result refused. A tool that exits or outgrows memory takes this process along; variables, cwd
and the like are the process's, and put back when no attempt runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shoal.executors import thread_streams
from shoal.executors.attempt import Attempt, stopped, unstarted
from shoal.executors.order import absorb
from shoal.executors.outbox import Outbox
from shoal.executors.process.child import CHILD_SLACK, carry_in_child
from shoal.executors.surroundings import Surroundings, set_variables
from shoal.model.attempts import AttemptCall, Completion, Notice, Outcome
from shoal.model.ids import AttemptId
from shoal.model.policies import Isolation, Resources
from shoal.model.tools import BuiltEnvironment, ToolLock, ToolOptions
from shoal.ports import BlobStore, ToolInvoker

_TICK: Final = 0.05
"""Seconds between two looks at the attempts under way, while there are any."""


@dataclass(slots=True)
class _Thread:
    """An attempt in a thread.

    Attributes:
        child: Whether the thread only looks after a child process.
    """

    attempt: Attempt
    child: bool

    @property
    def abandon_at(self) -> float | None:
        end = self.attempt.kill_at
        return end + CHILD_SLACK if end is not None and self.child else end


class InlineExecutor:
    """The `StepExecutor` without Ray.

    At most `threads` attempts run at once; others wait in the order of submission. Attempts whose `env` differs do not run
    at the same time, since a process has one environment; one without `env` may see another's.
    """

    def __init__(self, *, invoker: ToolInvoker, blobs: BlobStore, threads: int | None = None) -> None:
        """Make an executor; it may be made outside of an event loop.

        Args:
            invoker: Carries out attempts.
            blobs: Reads and keeps what child processes take and return.
            threads: Attempts at once; by default 4 for each CPU, at least 8.
        """
        self._invoker: Final = invoker
        self._blobs: Final = blobs
        self._threads: Final = threads or max(8, 4 * (os.cpu_count() or 1))
        self._waiting: Final[deque[AttemptCall]] = deque()
        self._running: Final[dict[AttemptId, _Thread]] = {}
        self._completions: Final[Outbox[Completion]] = Outbox()
        self._notices: Final[Outbox[Notice]] = Outbox()
        self._surroundings: Surroundings | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False

    async def start(self) -> None:
        """Make ready."""
        self._loop = asyncio.get_running_loop()
        thread_streams.install()

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Begin attempts."""
        self._waiting.extend(calls)
        self._begin()

    async def completions(self) -> Sequence[Completion]:
        """Return what has ended."""
        return await self._completions.take()

    async def notices(self) -> Sequence[Notice]:
        """Return what attempts let us know."""
        return await self._notices.take()

    def cancel(self, attempts: Sequence[AttemptId], *, grace: timedelta) -> None:
        """Set cancel flags; what waits for a thread ends at once."""
        wanted = frozenset(attempts)
        dropped = [c for c in self._waiting if c.attempt_id in wanted]
        if dropped:
            kept = [c for c in self._waiting if c.attempt_id not in wanted]
            self._waiting.clear()
            self._waiting.extend(kept)
            self._completions.put(unstarted(c, stopped(c)) for c in dropped)
        for attempt_id in wanted:
            thread = self._running.get(attempt_id)
            if thread is not None:
                thread.attempt.cancel(grace.total_seconds())

    def slots(self, resources: Resources) -> int:
        """Return the CPUs of this machine over those of an attempt."""
        return max(1, int((os.cpu_count() or 1) // (resources.cpus or 1)))

    def prepare(self, environments: Sequence[BuiltEnvironment]) -> None:
        """Do nothing: every environment is a process of its own here."""

    async def options(self, tool: ToolLock, environment: BuiltEnvironment | None) -> ToolOptions:
        """Return the options of a tool of the base environment; those of a tool in another one are not read."""
        if environment is not None:
            return ToolOptions()
        try:
            return await asyncio.to_thread(self._invoker.describe, tool)
        except Exception:  # noqa: BLE001 - importing a tool runs its author's code; its attempt will say what is wrong
            return ToolOptions()

    async def describe(self) -> Mapping[str, str]:
        """Return what it stands on."""
        return {"executor": "inline", "threads": str(self._threads), "running": str(len(self._running))}

    async def close(self, *, grace: timedelta) -> None:
        """Set all cancel flags, wait for at most `grace`, abandon what still runs."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self.cancel(list(self._running), grace=grace)
        slack = CHILD_SLACK if any(t.child for t in self._running.values()) else 0.0
        end = time.monotonic() + grace.total_seconds() + slack
        while self._running and time.monotonic() < end:  # noqa: ASYNC110 - threads end; there is no event to wait for
            await asyncio.sleep(_TICK / 2)
        self._running.clear()
        if self._ticker is not None:
            self._ticker.cancel()
        if self._surroundings is not None:
            self._surroundings.restore()
        if self._loop is not None:
            thread_streams.remove()

    # ------------------------------------------------------------ threads

    def _begin(self) -> None:
        while self._waiting and not self._closed:
            call = self._waiting[0]
            if call.isolation is not Isolation.SHARED and self._crowded():
                return
            child = call.isolation is Isolation.PROCESS or call.environment is not None
            if call.env and not child and any(v not in ({}, call.env) for v in self._variables()):
                return
            self._waiting.popleft()
            if not self._running:
                self._surroundings = Surroundings()
            if not child:
                set_variables(call.env)
            thread = _Thread(Attempt(call), child)
            self._running[call.attempt_id] = thread
            context = contextvars.copy_context()
            name = f"shoal-{call.path}-{call.number}"
            threading.Thread(target=context.run, args=(self._carry, thread), name=name, daemon=True).start()
            if self._ticker is None and self._loop is not None:
                self._ticker = self._loop.call_later(_TICK, self._tick)

    def _crowded(self) -> bool:
        """Return whether as many attempts run as may; those that only wait are not counted."""
        if len(self._running) < self._threads:
            return False
        return sum(t.attempt.call.isolation is not Isolation.SHARED for t in self._running.values()) >= self._threads

    def _carry(self, thread: _Thread) -> None:
        attempt = thread.attempt
        with thread_streams.captured(attempt.log):
            outcome = (
                carry_in_child(attempt, invoker=self._invoker, blobs=self._blobs)
                if thread.child
                else attempt.invoke(self._invoker.invoke)
            )
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._end, thread, outcome)
        except RuntimeError:
            pass  # the loop is closed: nobody waits for this result any more

    def _end(self, thread: _Thread, outcome: Outcome) -> None:
        """Record an end; the second one of an attempt, of a thread that was abandoned, is refused."""
        attempt = thread.attempt
        attempt_id = attempt.call.attempt_id
        if self._running.get(attempt_id) is not thread:
            return
        del self._running[attempt_id]
        self._completions.put([absorb(attempt.completion(outcome)[0], self._notices)])
        self._restore()
        self._begin()

    def _restore(self) -> None:
        if self._surroundings is None:
            return
        if not self._running:
            self._surroundings.restore()
        elif not any(self._variables()):
            self._surroundings.restore_variables()

    def _variables(self) -> Iterator[Mapping[str, str]]:
        return (t.attempt.call.env for t in self._running.values() if not t.child)

    def _tick(self) -> None:
        self._ticker = None
        now = time.monotonic()
        for thread in list(self._running.values()):
            attempt = thread.attempt
            if thread.abandon_at is not None and now >= thread.abandon_at:
                self._end(thread, attempt.outran() if attempt.timed_out else attempt.stopped())
                continue
            told = attempt.notice()
            if told is not None:
                self._notices.put([told[0]])
                attempt.acknowledge(told[0])
        if self._running and self._loop is not None and self._ticker is None:
            self._ticker = self._loop.call_later(_TICK, self._tick)
