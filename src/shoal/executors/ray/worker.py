"""What runs in a Ray worker: one attempt after another.

Owns the worker's side of an attempt. Nothing here may need a driver.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache

from shoal.executors.attempt import Attempt
from shoal.executors.surroundings import Surroundings, set_variables
from shoal.executors.wire import pack_completion
from shoal.model.attempts import AttemptCall
from shoal.ports import BlobStore, ToolInvoker


@dataclass(frozen=True, slots=True)
class Kit:
    """What every attempt of an executor needs in its worker; pickled once for each executor, read once in each worker."""

    invoker: ToolInvoker
    blobs: BlobStore


@lru_cache(maxsize=4)
def _unpack(kit: bytes) -> Kit:
    return pickle.loads(kit)  # noqa: S301 - made by the executor that sent it


def carry(kit: bytes, call: bytes) -> bytes:
    """Carry out a pickled call and return its packed completion."""
    parts = _unpack(kit)
    attempt_call: AttemptCall = pickle.loads(call)  # noqa: S301 - a worker; made by its executor
    attempt = Attempt(attempt_call)
    before = Surroundings()
    set_variables(attempt_call.env)
    try:
        outcome = attempt.invoke(parts.invoker.invoke)
    finally:
        before.restore()
    return pack_completion(attempt.completion(outcome))
