"""What runs in a Ray worker: one attempt after another, in its main thread.

Owns the worker's side of an attempt. An attempt that does not yield ends with the worker's process; before that its end is
told to the mailbox, so that the orchestrator can tell it from a worker that was lost.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType
from typing import Final

from shoal.executors import process_tree
from shoal.executors.attempt import Attempt
from shoal.executors.before import Before
from shoal.executors.capture import Capture, Records
from shoal.executors.process.child import CHILD_SLACK, carry_in_child
from shoal.executors.ray.board import Place
from shoal.executors.ray.library import load_ray
from shoal.executors.ray.mailbox import Post
from shoal.executors.surroundings import Surroundings, set_variables
from shoal.executors.watch import Guard, Watch
from shoal.executors.wire import pack_completion
from shoal.model.attempts import AttemptCall, Completion, Outcome
from shoal.model.policies import Isolation
from shoal.model.serial import to_json
from shoal.model.tools import ToolLock, ToolOptions
from shoal.ports import BlobStore, ToolInvoker


@dataclass(frozen=True, slots=True)
class Limits:
    """When a warm worker retires.

    Attributes:
        attempts: After so many.
        growth: When it holds so many bytes of its own more than at its start.
    """

    attempts: int = 20_000
    growth: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kit:
    """What every attempt of an executor needs in its worker; pickled once for each executor, read once in each worker.

    Attributes:
        mailbox: Name of the actor.
        namespace: Its namespace.
        board: Folder in which a worker of the orchestrator's host says what it carries; empty: none does.
        limits: When a warm worker retires.
    """

    invoker: ToolInvoker
    blobs: BlobStore
    mailbox: str
    namespace: str
    board: str
    limits: Limits


def carry(kit: bytes, call: bytes) -> bytes:
    """Carry out a pickled call and return its packed completion."""
    return pack_completion(*worker_of(kit).carry(pickle.loads(call)))  # noqa: S301 - a worker; its executor made it


def read_options(kit: bytes, tool: bytes) -> str:
    """Return the options of a pickled tool as JSON; none if it cannot be loaded, which its attempt will say."""
    return options_of(pickle.loads(kit), pickle.loads(tool))  # noqa: S301 - a worker; its executor made both


def options_of(kit: Kit, tool: ToolLock) -> str:
    """Return the options of a tool as JSON; none if it cannot be loaded, which its attempt will say."""
    try:
        found = kit.invoker.describe(tool)
    except Exception:  # noqa: BLE001 - importing a tool runs its author's code
        found = ToolOptions()
    return json.dumps(to_json(found))


@lru_cache(maxsize=1)
def worker_of(kit: bytes) -> Worker:
    """Return this process as a worker; made once."""
    return Worker(pickle.loads(kit))  # noqa: S301 - a worker; its executor made it


_MODULES: Final = "/shoal-modules-"
"""In the path of the folder of a run's modules: it changes with the run, and is not the tool's doing."""


def restore_path(path: Sequence[str]) -> None:
    """Put `sys.path` back as it was before a tool, with the folder of the present run's modules where it stands by now."""
    modules = [(place, entry) for place, entry in enumerate(sys.path) if _MODULES in entry]
    if [entry for entry in sys.path if _MODULES not in entry] == [entry for entry in path if _MODULES not in entry]:
        return
    sys.path[:] = [entry for entry in path if _MODULES not in entry]
    for place, entry in modules:
        sys.path.insert(place, entry)


class Worker:
    """This process as a carrier of attempts."""

    def __init__(self, kit: Kit) -> None:
        self.kit: Final = kit
        self.node: Final = str(load_ray().get_runtime_context().get_node_id())
        self.post: Final = Post(name=kit.mailbox, namespace=kit.namespace)
        self.place: Final = Place(kit.board)
        self._watch: Final = Watch(tell=self._tell, condemn=self._condemn)
        self._records: Final = Records()
        self._records.install()
        self._current: Attempt | None = None
        # `ray.cancel` without force simulates this signal in the worker: it sets the cancel flag, and interrupts nothing.
        signal.signal(signal.SIGINT, self._interrupted)
        self._before: Final = Surroundings()

    def carry(self, call: AttemptCall) -> tuple[Completion, Before]:
        """Carry out a call; return its completion and what went before it."""
        attempt = self._current = Attempt(call)
        self.place.take(call.attempt_id)
        self._records.active = True
        child = call.isolation is Isolation.PROCESS
        guard = Guard(attempt, Capture(attempt.log), memory=None if child else call.resources.memory)
        guard.slack = CHILD_SLACK if child else 0.0
        self._watch.begin(guard)
        set_variables(call.env)
        path = list(sys.path)
        try:
            outcome = (
                carry_in_child(attempt, invoker=self.kit.invoker, blobs=self.kit.blobs)
                if child
                else attempt.invoke(self.kit.invoker.invoke)
            )
        finally:
            self._before.restore()
            restore_path(path)
            self._watch.end()
            self._records.active = False
        ended = attempt.completion(outcome, node=self.node)
        self._current = None
        self.place.leave()
        return ended

    def _tell(self, attempt: Attempt) -> None:
        """Look for the attempt's cancel flag here, and let the mailbox know of the attempt; in the watching thread."""
        grace = self.place.grace(attempt.call.attempt_id) if self.place.visible else None
        if grace is not None:
            attempt.cancel(grace)
        self.post.tell(attempt)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        attempt = self._current
        if attempt is None:
            signal.default_int_handler(number, frame)
        else:
            attempt.cancel(attempt.call.grace.total_seconds())

    def _condemn(self, attempt: Attempt, outcome: Outcome) -> None:
        """End this process for an attempt that has to end, in the watching thread."""
        process_tree.kill(process_tree.descendants(os.getpid()))
        self.post.condemn(pack_completion(*attempt.completion(outcome, node=self.node)))
        os.kill(os.getpid(), signal.SIGKILL)
