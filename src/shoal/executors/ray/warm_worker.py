"""A warm worker: an actor that carries one batch of attempts after another, one attempt at a time.

Owns the worker's side of a batch. What it has not begun it gives back: when the batch takes longer than its tools led to
expect, so that neither the results behind nor the attempts ahead wait for one that turned out long. See ADR 0011.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shoal.executors.attempt import stopped, unstarted
from shoal.executors.before import Before
from shoal.executors.ray.calls import unpack_calls
from shoal.executors.ray.line import WorkerLine
from shoal.executors.ray.worker import options_of, worker_of
from shoal.executors.watch import held
from shoal.executors.wire import Reply, pack_reply
from shoal.model.attempts import AttemptCall, Completion
from shoal.model.tools import ToolLock

BUDGET: Final = 0.05
"""Seconds after which a batch is answered, what is left of it given back."""

_LOOK: Final = 1.0
"""Seconds between two looks at its memory."""


@dataclass(slots=True)
class _Batch:
    """A batch under way. `lock` guards the step from one attempt to the next."""

    jobs: Sequence[AttemptCall | ToolLock]
    until: float
    begun: int = 0
    open: bool = True
    done: list[tuple[Completion, Before]] = field(default_factory=list["tuple[Completion, Before]"])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> AttemptCall | ToolLock | None:
        """Begin the next job; None: there is none left, or none may begin."""
        with self.lock:
            late = self.begun > 0 and time.monotonic() >= self.until
            if not self.open or late or self.begun == len(self.jobs):
                return None
            self.begun += 1
            return self.jobs[self.begun - 1]

    def give_back(self) -> bytes | None:
        """Close the batch early; return what is done and what was not begun. None: nothing, or it was closed before."""
        with self.lock:
            if not self.open:
                return None
            self.open = False
            returned = [job.attempt_id for job in self.jobs[self.begun :] if isinstance(job, AttemptCall)]
            reply = Reply(tuple(self.done), returned)
        return pack_reply(reply) if reply.completions or reply.returned else None


class WarmWorker:
    """The actor. Its methods are called in the main thread of its process, one at a time, in their order."""

    def __init__(self, kit: bytes) -> None:
        self._worker: Final = worker_of(kit)
        self._carried = 0
        self._base = held()
        self._looked = time.monotonic()
        self._line: WorkerLine | None = None

    def greet(self) -> str:
        """Return who it is: process id, node, whether the orchestrator's folder is in its reach, token of its line; JSON."""
        visible = self._worker.place.visible
        self._line = WorkerLine.open(self._worker.kit.board) if visible else None
        return json.dumps([os.getpid(), self._worker.node, visible, self._line.token if self._line is not None else ""])

    def serve(self) -> None:
        """Carry out what comes by the line, until it ends."""
        line = self._line
        while line is not None and (batch := line.receive()) is not None:
            ticket, jobs = batch
            reply = self.carry(jobs, ticket)
            try:
                line.send(reply)
            except OSError:
                break  # the orchestrator is gone, or the tool has closed what it did not open
        if line is not None:
            line.close()

    def carry(self, jobs: bytes, ticket: str) -> bytes:
        """Carry out a batch, or the first part of it, and return its packed reply; the caller keeps what is not in it.

        Args:
            jobs: Packed: calls, and locks of tools whose options are to be read.
            ticket: What has to be claimed before the batch may begin; empty: nothing.
        """
        worker = self._worker
        found = unpack_calls(jobs)
        batch = _Batch(found, time.monotonic() + BUDGET)
        if ticket and not worker.place.claim(ticket):
            return pack_reply(Reply())
        flagged = self._flagged(found)
        worker.post.batch = batch.give_back
        options: list[tuple[int, str]] = []
        while (job := batch.next()) is not None:
            if isinstance(job, ToolLock):
                options.append((batch.begun - 1, options_of(worker.kit, job)))
            elif job.attempt_id in flagged or worker.place.is_flagged(job.attempt_id):
                batch.done.append((unstarted(job, stopped(job)), Before()))
            else:
                batch.done.append(worker.carry(job))
                self._carried += 1
        worker.post.batch = None
        return pack_reply(Reply(batch.done, (), options, self._spent()))

    def _flagged(self, jobs: Sequence[AttemptCall | ToolLock]) -> frozenset[str]:
        """Return which attempts the mailbox knows to be canceled; a worker that sees the board asks that, before each."""
        if self._worker.place.visible:
            return frozenset()
        return self._worker.post.flagged([job.attempt_id for job in jobs if isinstance(job, AttemptCall)])

    def _spent(self) -> bool:
        now = time.monotonic()
        limits = self._worker.kit.limits
        if self._carried >= limits.attempts:
            return True
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        return held() - self._base > limits.growth
