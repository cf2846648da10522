"""The Ray executor: one Ray task an attempt.

Owns the driver's side: submission, completions, cancellation.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Any, Final

from shoal.errors import InternalError, OutOfMemoryError, RayUnavailableError, WorkerLostError
from shoal.executors.attempt import stopped, unstarted, where
from shoal.executors.outbox import Outbox
from shoal.executors.ray.library import load_exceptions, load_ray
from shoal.executors.ray.worker import Kit
from shoal.executors.wire import unpack_completion
from shoal.model.attempts import AttemptCall, Completion, Failed, Notice
from shoal.model.ids import AttemptId
from shoal.model.policies import Resources
from shoal.ports import BlobStore, ToolInvoker


def _bind(kit: bytes) -> Callable[[bytes], bytes]:
    # A closure is pickled by value, once, with the function; a worker loads it once, whatever the number of its attempts.
    def shoal_attempt(call: bytes) -> bytes:
        from shoal.executors.ray.worker import carry

        return carry(kit, call)

    return shoal_attempt


class RayExecutor:
    """The `StepExecutor` on Ray. The process must be a driver already (`cluster.connect`)."""

    def __init__(self, *, invoker: ToolInvoker, blobs: BlobStore) -> None:
        """Make an executor; Ray is first touched by `start`.

        Args:
            invoker: Carries out attempts; travels to every worker once.
            blobs: Reads and keeps what clean child processes take and return; travels too.
        """
        self._kit: Final = pickle.dumps(Kit(invoker, blobs), protocol=5)
        self._tasks: Final[dict[object, Any]] = {}
        self._calls: Final[dict[AttemptId, tuple[AttemptCall, Any]]] = {}
        self._completions: Final[Outbox[Completion]] = Outbox()
        self._notices: Final[Outbox[Notice]] = Outbox()
        self._arrived: Final[deque[tuple[AttemptCall, Future[Any]]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._function: Any = None
        self._closed = False

    async def start(self) -> None:
        """Make ready. Raises `RayUnavailableError` if this process is no driver."""
        ray = load_ray()

        if not ray.is_initialized():
            raise RayUnavailableError(
                "this process is not connected to Ray", hint="call shoal.executors.ray.cluster.connect first"
            )
        self._loop = asyncio.get_running_loop()
        self._function = ray.remote(max_retries=0)(_bind(self._kit))

    def submit(self, calls: Sequence[AttemptCall]) -> None:
        """Begin attempts."""
        for call in calls:
            ref = self._task(call).remote(pickle.dumps(call, protocol=5))
            self._calls[call.attempt_id] = (call, ref)
            ref.future().add_done_callback(partial(self._arrive, call))

    async def completions(self) -> Sequence[Completion]:
        """Return what has ended."""
        return await self._completions.take()

    async def notices(self) -> Sequence[Notice]:
        """Return what attempts let us know."""
        return await self._notices.take()

    def cancel(self, attempts: Sequence[AttemptId], *, grace: timedelta) -> None:
        """End attempts."""
        ray = load_ray()

        for attempt_id in attempts:
            if attempt_id in self._calls:
                ref = self._calls[attempt_id][1]
                asyncio.get_running_loop().call_later(grace.total_seconds(), ray.cancel, ref)

    def slots(self, resources: Resources) -> int:
        """Return the CPUs of the cluster over those of an attempt."""
        ray = load_ray()

        return max(1, int(ray.cluster_resources().get("CPU", 1) // (resources.cpus or 1)))

    async def describe(self) -> Mapping[str, str]:
        """Return what it stands on."""
        ray = load_ray()

        return {"executor": "ray", "ray": ray.__version__, "address": str(ray.get_runtime_context().gcs_address)}

    async def close(self, *, grace: timedelta) -> None:
        """End all attempts."""
        if self._closed:
            return
        self._closed = True
        self.cancel(list(self._calls), grace=grace)
        self._calls.clear()

    # ------------------------------------------------------------ inside

    def _task(self, call: AttemptCall) -> Any:
        python = call.environment.python if call.environment else None
        key = (python, call.resources)
        task = self._tasks.get(key)
        if task is None:
            options: dict[str, Any] = {"num_cpus": 1 if call.resources.cpus is None else call.resources.cpus}
            if call.resources.gpus is not None:
                options["num_gpus"] = call.resources.gpus
            if call.resources.memory is not None:
                options["memory"] = call.resources.memory
            if call.resources.custom:
                options["resources"] = dict(call.resources.custom)
            if python is not None:
                options["runtime_env"] = {"py_executable": python}
            task = self._tasks[key] = self._function.options(**options)
        return task

    def _arrive(self, call: AttemptCall, future: Future[Any]) -> None:
        """Take an end in Ray's thread; the loop is woken once for all that arrive before it looks."""
        first = not self._arrived
        self._arrived.append((call, future))
        if first and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                pass

    def _collect(self) -> None:
        done: list[Completion] = []
        while self._arrived:
            call, future = self._arrived.popleft()
            if self._calls.pop(call.attempt_id, None) is None:
                continue
            error = future.exception()
            done.append(unpack_completion(future.result()) if error is None else unstarted(call, _failure(call, error)))
        self._completions.put(done)


def _failure(call: AttemptCall, error: BaseException) -> Failed:
    rx = load_exceptions()

    match error:
        case rx.TaskCancelledError():
            return stopped(call)
        case rx.OutOfMemoryError():
            return Failed(OutOfMemoryError(f"{where(call)} was ended: its node ran out of memory"))
        case rx.WorkerCrashedError() | rx.NodeDiedError() | rx.LocalRayletDiedError():
            return Failed(WorkerLostError(f"the worker of {where(call)} died", run_id=call.run_id, step=call.path))
        case _:
            return Failed(InternalError(f"{where(call)}: Ray raised {type(error).__name__}: {error}"))
