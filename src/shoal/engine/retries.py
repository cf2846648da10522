"""Whether a failed attempt is tried again, and when. The counts are kept apart by kind of failure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Literal

from shoal.errors import (
    AttemptInterruptedError,
    OutOfMemoryError,
    RunCanceledError,
    ShoalError,
    StepTimeoutError,
    WorkerLostError,
)
from shoal.model.attempts import Failed
from shoal.model.policies import RetryPolicy

FailureKind = Literal["exception", "timeout", "worker_lost", "oom", "canceled", "interrupted"]


def kind_of(error: ShoalError) -> FailureKind:
    """Return the kind of failure that an attempt's error tells of."""
    match error:
        case StepTimeoutError():
            return "timeout"
        case WorkerLostError():
            return "worker_lost"
        case OutOfMemoryError():
            return "oom"
        case RunCanceledError():
            return "canceled"
        case AttemptInterruptedError():
            return "interrupted"
        case _:
            return "exception"


def is_covered(policy: RetryPolicy, failed: Failed, kind: FailureKind) -> bool:
    """Return whether `retry.on` names this failure; an empty `on` covers everything that may be retried."""
    if not failed.retryable:
        return False
    if not policy.on or "any" in policy.on:
        return True
    return kind in policy.on or any(name in policy.on for name in failed.exception_names)


def spent(policy: RetryPolicy, kind: FailureKind, count: int) -> bool:
    """Return whether no retry is left after `count` failures of a kind (exceptions and time-outs count together)."""
    match kind:
        case "worker_lost":
            return count > policy.worker_lost
        case "oom":
            return count > policy.out_of_memory
        case _:
            return count >= policy.max_attempts


def delay(policy: RetryPolicy, count: int, random: Random) -> timedelta:
    """Return how long to wait after the `count`-th failure (from 1): exponential, with full jitter if the policy says so."""
    bound = min(policy.maximum.total_seconds(), policy.initial.total_seconds() * policy.multiplier ** min(count - 1, 60))
    return timedelta(seconds=random.uniform(0.0, bound) if policy.jitter else bound)
