"""An attempt in a child process that has Shoal: the tool invoker, called there as in any worker."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from shoal.executors.attempt import Attempt
from shoal.executors.wire import pack_completion
from shoal.model.attempts import AttemptCall
from shoal.model.run import Progress
from shoal.ports import AttemptControl, ToolInvoker


def carry(data: bytes, canceled: Callable[[], bool], send: Callable[[dict[str, Any]], None]) -> bytes:
    """Carry out a pickled pair of invoker and call, as the driver of the child asks; return a packed completion."""
    pair: tuple[ToolInvoker, AttemptCall] = pickle.loads(data)  # noqa: S301 - written by the parent, of our own objects
    invoker, call = pair

    def report(progress: Progress) -> None:
        send({"progress": [progress.done, progress.total, progress.note]})

    attempt = Attempt(call)
    outcome = attempt.invoke(lambda c, _: invoker.invoke(c, AttemptControl(report, canceled)))
    return pack_completion(*attempt.completion(outcome))
