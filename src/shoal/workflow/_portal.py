"""An event loop in a thread of its own, for programs that have none: the one way from the synchronous API to the engine."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from shoal.errors import ConflictError, InfrastructureError

T = TypeVar("T")


class Portal:
    """A loop in a daemon thread; the thread ends with `close`, or with the process."""

    def __init__(self) -> None:
        """Start the thread."""
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="shoal-workflow", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        waiting = asyncio.all_tasks(self.loop)
        for task in waiting:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine there, and return its future.

        Raises:
            ConflictError: Called from the loop itself, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise ConflictError("a workflow is driven by this very thread", hint="a task asks for more work by a continuation")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and return what it returns.

        Raises:
            InfrastructureError: The portal was closed meanwhile.
        """
        future = self.begin(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise InfrastructureError("the connection to the workflows was closed", hint="workflow.resume goes on") from None
        except BaseException:
            future.cancel()
            raise

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background; called in the loop."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Cancel what `spawn` began."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Stop the loop, and wait for the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
