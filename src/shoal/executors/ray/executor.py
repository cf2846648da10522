"""The Ray executor: one Ray task an attempt.

Owns the driver's side: submission, completions, notices, and cancellation in three steps: Ray's own cancel (drops what is
queued, sets the flag of what runs), the flag in the mailbox, and after the grace the end of the worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from shoal.errors import RayUnavailableError
from shoal.executors.attempt import outran, stopped, unstarted
from shoal.executors.order import absorb
from shoal.executors.outbox import Outbox
from shoal.executors.ray import judgement
from shoal.executors.ray.board import Board
from shoal.executors.ray.cluster import NAMESPACE
from shoal.executors.ray.library import load_exceptions, load_ray
from shoal.executors.ray.listener import Listener
from shoal.executors.ray.pulse import Pulse
from shoal.executors.ray.tasks import Tasks, shortage
from shoal.executors.ray.worker import Kit
from shoal.executors.wire import unpack_completion
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice
from shoal.model.ids import AttemptId
from shoal.model.policies import Resources
from shoal.model.serial import from_json
from shoal.model.tools import BuiltEnvironment, ToolLock, ToolOptions
from shoal.ports import BlobStore, ToolInvoker

_COALESCE: Final = 0.005
"""Seconds between two wake-ups of the loop for completions while more than `_MANY` attempts are under way."""

_MANY: Final = 64

_SETTLE: Final = 1.0
"""Seconds that an end waits for what the mailbox still has of its attempt."""

_SLACK: Final = 1.0
"""Seconds that a worker gets, after the grace, to end itself and say so, before Ray ends it."""

_GIVE_UP: Final = 10.0
"""Seconds after which an attempt that Ray was told to end counts as ended, whatever Ray says."""


@dataclass(slots=True)
class _Task:
    """An attempt that was submitted and is not completed.

    Attributes:
        sent: Monotonic time of its submission to Ray.
        started: Monotonic time of its first notice.
        heard: Notices that came.
        end: Its completion, and how many notices go before it, while they are waited for.
        doom: The completion that its worker announced before it ended itself.
        lost: Ray's error, while a `doom` is waited for.
    """

    call: AttemptCall
    ref: Any = None
    sent: float = 0.0
    canceled: bool = False
    overdue: bool = False
    forced: bool = False
    started: float | None = None
    started_at: datetime | None = None
    heard: int = 0
    end: tuple[Completion, int] | None = None
    doom: Completion | None = None
    lost: BaseException | None = None


class RayExecutor:
    """The `StepExecutor` on Ray. The process must be a driver already (`cluster.connect`)."""

    def __init__(
        self, *, invoker: ToolInvoker, blobs: BlobStore, patience: timedelta = timedelta(0), namespace: str = NAMESPACE
    ) -> None:
        """Make an executor; Ray is first touched by `start`.

        Args:
            invoker: Carries out attempts; travels to every worker once.
            blobs: Reads and keeps what clean child processes take and return; travels too.
            patience: How long an attempt that no node could carry waits for such a node; for clusters that grow.
            namespace: Ray namespace of the mailbox.
        """
        self._name: Final = f"mailbox-{os.urandom(8).hex()}"
        self._invoker: Final = invoker
        self._blobs: Final = blobs
        self._namespace: Final = namespace
        self._patience: Final = patience.total_seconds()
        self._under_way: Final[dict[AttemptId, _Task]] = {}
        self._completions: Final[Outbox[Completion]] = Outbox()
        self._notices: Final[Outbox[Notice]] = Outbox()
        self._arrived: Final[deque[tuple[_Task, Future[Any]]]] = deque()
        self._feasible: Final[set[Resources]] = set()
        self._waking = False
        self._collected = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: Tasks | None = None
        self._listener: Listener | None = None
        self._pulse: Pulse | None = None
        self._board: Board | None = None
        self._closed = False

    async def start(self) -> None:
        """Make ready. Raises `RayUnavailableError` if this process is no driver."""
        ray = load_ray()
        if not ray.is_initialized():
            raise RayUnavailableError(
                "this process is not connected to Ray", hint="call shoal.executors.ray.cluster.connect first"
            )
        self._loop = asyncio.get_running_loop()
        self._board = Board()
        kit = Kit(self._invoker, self._blobs, self._name, self._namespace, self._board.folder)
        self._tasks = Tasks(pickle.dumps(kit, protocol=5))
        self._listener = Listener(
            name=self._name, namespace=self._namespace, notice=self._noticed, doom=self._doomed, busy=self._is_busy
        )
        self._listener.start()
        self._pulse = Pulse(address=str(ray.get_runtime_context().gcs_address), busy=self._is_busy, lost=self._fail)
        self._pulse.start()

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Begin attempts."""
        for call in calls:
            task = self._under_way[call.attempt_id] = _Task(call)
            if self._fits(call.resources):
                self._send(task)
            else:
                self._await_node(task, time.monotonic() + self._patience)

    async def completions(self) -> Sequence[Completion]:
        """Return what has ended. Raises `RayUnavailableError` once Ray is gone; nothing ends any more then."""
        return await self._completions.take()

    async def notices(self) -> Sequence[Notice]:
        """Return what attempts let us know."""
        return await self._notices.take()

    def cancel(self, attempts: Sequence[AttemptId], *, grace: timedelta) -> None:
        """Set cancel flags; what is queued ends at once, what has not yielded after `grace` with its worker."""
        seconds = grace.total_seconds()
        tasks = [task for a in attempts if (task := self._under_way.get(a)) is not None]
        if not tasks or self._loop is None or self._listener is None:
            return
        cancel = load_ray().cancel
        for task in tasks:
            task.canceled = True
            if task.ref is None:
                self._finish(task, unstarted(task.call, stopped(task.call)))
            else:
                cancel(task.ref, force=False)
        self._listener.flag({t.call.attempt_id: seconds for t in tasks if t.ref is not None})
        self._loop.call_later(seconds + _SLACK, self._force, tasks)

    def slots(self, resources: Resources) -> int:
        """Return the CPUs of the cluster over those of an attempt."""
        total = float(load_ray().cluster_resources().get("CPU", 1))
        return max(1, int(total // (resources.cpus or 1)))

    async def options(self, tool: ToolLock, environment: BuiltEnvironment | None) -> ToolOptions:
        """Return the options of a tool, read by a task without CPU; a clean environment has no Ray, and so no options."""
        if self._tasks is None or (tool.environment is not None and tool.environment.kind == "process"):
            return ToolOptions()
        reader = self._tasks.reader(environment.python if environment is not None else None)
        try:
            return from_json(ToolOptions, json.loads(await reader.remote(pickle.dumps(tool, protocol=5))))
        except load_exceptions().RayError:
            return ToolOptions()  # its attempt will meet what was met here

    async def describe(self) -> Mapping[str, str]:
        """Return what it stands on."""
        ray = load_ray()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        return {
            "executor": "ray",
            "ray": str(ray.__version__),
            "address": str(ray.get_runtime_context().gcs_address),
            "nodes": str(len(nodes)),
            "cpus": f"{ray.cluster_resources().get('CPU', 0):g}",
            "running": str(len(self._under_way)),
        }

    async def close(self, *, grace: timedelta) -> None:
        """Cancel what runs, wait for it, end it, give up the mailbox. Ray itself stays as it is."""
        if self._closed:
            return
        self._closed = True
        if load_ray().is_initialized() and self._completions.error is None:
            self.cancel(list(self._under_way), grace=grace)
            end = time.monotonic() + grace.total_seconds() + _SLACK + _SETTLE
            while self._under_way and time.monotonic() < end:  # noqa: ASYNC110 - completions arrive from another thread
                await asyncio.sleep(0.02)
            self._force(list(self._under_way.values()))
            for task in self._under_way.values():
                self._kill(task)
        self._under_way.clear()
        if self._pulse is not None:
            await self._pulse.stop()
        if self._listener is not None:
            await self._listener.stop()
        if self._board is not None:
            self._board.close()

    # ------------------------------------------------------------ sending

    def _is_busy(self) -> bool:
        return bool(self._under_way)

    def _fits(self, resources: Resources) -> bool:
        if resources not in self._feasible and self._shortage(resources) is None:
            self._feasible.add(resources)
        return resources in self._feasible

    def _shortage(self, resources: Resources) -> str | None:
        return shortage(resources, [node["Resources"] for node in load_ray().nodes() if node["Alive"]])

    def _await_node(self, task: _Task, until: float) -> None:
        if task.call.attempt_id not in self._under_way or self._loop is None:
            return
        missing = self._shortage(task.call.resources)
        if missing is None:
            self._send(task)
        elif time.monotonic() >= until:
            self._finish(task, unstarted(task.call, judgement.unschedulable(task.call, missing)))
        else:
            self._loop.call_later(1.0, self._await_node, task, until)

    def _send(self, task: _Task) -> None:
        if self._tasks is None:
            return
        task.sent = time.monotonic()
        task.ref = self._tasks.of(task.call).remote(pickle.dumps(task.call, protocol=5))
        task.ref.future().add_done_callback(partial(self._arrive, task))

    # ------------------------------------------------------------ arriving

    def _arrive(self, task: _Task, future: Future[Any]) -> None:
        """Take an end, in Ray's thread; one wake-up of the loop serves all that arrive before it looks."""
        self._arrived.append((task, future))
        if not self._waking and self._loop is not None:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop is closed: nobody waits for completions any more

    def _wake(self) -> None:
        pause = self._collected + _COALESCE - time.monotonic() if len(self._under_way) > _MANY else 0.0
        if pause > 0 and self._loop is not None:
            self._loop.call_later(pause, self._collect)
        else:
            self._collect()

    def _collect(self) -> None:
        self._collected = time.monotonic()
        self._waking = False
        done: list[Completion] = []
        while self._arrived:
            task, future = self._arrived.popleft()
            if task.call.attempt_id not in self._under_way:
                continue
            error = future.exception()
            if error is not None:
                self._broken(task, error)
                continue
            completion, told = unpack_completion(future.result())
            if told == 0:
                del self._under_way[task.call.attempt_id]
                done.append(completion)
            else:
                self._settle(task, completion, told)
        self._completions.put(done)

    def _settle(self, task: _Task, completion: Completion, told: int) -> None:
        """Finish an attempt once all of its notices are here, or late."""
        if task.heard >= told or self._loop is None:
            self._finish(task, completion)
        else:
            task.end = (completion, told)
            self._loop.call_later(_SETTLE, self._finish, task, completion)

    def _broken(self, task: _Task, error: BaseException) -> None:
        """Finish an attempt for which Ray has an error; a worker that ended itself may have said why."""
        if task.doom is not None:
            self._finish(task, task.doom)
        elif judgement.is_lost(error) and self._loop is not None:
            task.lost = error
            self._loop.call_later(_SETTLE, self._judge, task, error)
        else:
            self._judge(task, error)

    def _judge(self, task: _Task, error: BaseException) -> None:
        outcome = judgement.verdict(task.call, error)
        if task.canceled and judgement.is_lost(error):
            outcome = stopped(task.call)
        elif task.overdue or (judgement.is_lost(error) and self._must_have_outrun(task)):
            outcome = outran(task.call)
        self._finish(task, self._without_worker(task, outcome))

    def _must_have_outrun(self, task: _Task) -> bool:
        """Whether a lost worker was most likely ended by its own last resort against tools that stop every thread.

        Such a tool lets no notice out; any other that ran as long as this one did would have.
        """
        call = task.call
        if call.timeout is None or task.started is not None:
            return False
        return time.monotonic() - task.sent >= (call.timeout + call.grace).total_seconds()

    def _without_worker(self, task: _Task, outcome: Failed) -> Completion:
        completion = unstarted(task.call, outcome)
        return Completion(completion.attempt_id, completion.outcome, task.started_at, datetime.now(UTC))

    def _finish(self, task: _Task, completion: Completion) -> None:
        """Complete an attempt; every later end of it is refused."""
        if self._under_way.pop(task.call.attempt_id, None) is None:
            return
        if task.canceled and self._listener is not None:
            self._listener.forget(task.call.attempt_id)
        self._completions.put([absorb(completion, self._notices)])

    # ------------------------------------------------------------ the mailbox

    def _noticed(self, notice: Notice) -> None:
        task = self._under_way.get(notice.attempt_id)
        if task is None:
            return
        task.heard += 1
        if notice.started_at is not None:
            self._started(task, notice.started_at)
        self._notices.put([notice])
        if task.end is not None and task.heard >= task.end[1]:
            self._finish(task, task.end[0])

    def _started(self, task: _Task, at: datetime) -> None:
        task.started, task.started_at = time.monotonic(), at
        call = task.call
        if call.timeout is not None and self._loop is not None:
            # The second line: the worker ends itself, unless its threads are held up too.
            after = (call.timeout + call.grace).total_seconds() + _SLACK
            self._loop.call_later(after, self._overdue, task)

    def _overdue(self, task: _Task) -> None:
        task.overdue = True
        self._force([task])

    def _doomed(self, completion: Completion) -> None:
        """Keep what a worker said before it ended itself; it counts once the worker is gone."""
        task = self._under_way.get(completion.attempt_id)
        if task is None or self._loop is None:
            return
        task.doom = completion
        if task.lost is not None:
            self._finish(task, completion)
        else:
            self._loop.call_later(_SETTLE + _SLACK, self._finish, task, completion)

    def _force(self, tasks: Sequence[_Task]) -> None:
        """End the workers of attempts that are still under way."""
        for task in tasks:
            alive = self._under_way.get(task.call.attempt_id) is task and not task.forced
            if alive and task.ref is not None and self._loop is not None:
                task.forced = True
                load_ray().cancel(task.ref, force=True)
                self._loop.call_later(_SLACK, self._kill, task)
                outcome = outran(task.call) if task.overdue else stopped(task.call)
                self._loop.call_later(_GIVE_UP, self._finish, task, self._without_worker(task, outcome))

    def _kill(self, task: _Task) -> None:
        """End a worker that Ray could not end: its tool holds the interpreter's lock."""
        if self._under_way.get(task.call.attempt_id) is task and self._board is not None:
            self._board.kill(task.call.attempt_id)

    def _fail(self, error: RayUnavailableError) -> None:
        self._completions.fail(error)
        self._notices.fail(error)
