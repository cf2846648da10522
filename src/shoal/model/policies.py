"""Policies of a step: retries, resources, isolation, what a failure means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Isolation(StrEnum):
    """Where an attempt runs.

    A warm worker where one can be had, a Ray task of its own, a clean child process, or (`shared`, for async functions that do
    nothing but wait) the event loop of one process without CPUs that carries many attempts at once.
    """

    POOL = "pool"
    TASK = "task"
    PROCESS = "process"
    SHARED = "shared"


class OnError(StrEnum):
    """What a step's failure means to its run."""

    FAIL = "fail"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a step is tried, and when.

    The delay before retry n (from 1) is uniform in [0, min(maximum, initial * multiplier ** (n - 1))] with `jitter`
    ("full jitter", Brooker, AWS Architecture Blog 2015), else exactly that bound.

    Attributes:
        max_attempts: Attempts in all, the first included; spent by exceptions and time-outs.
        initial: First delay.
        maximum: Longest delay.
        multiplier: Factor between delays, at least 1.
        on: Names of exceptions (matched on class and bases, simple or qualified), or `worker_lost`, `timeout`, `oom`,
            `any`. Empty: everything that is retryable.
        worker_lost: Retries after a lost worker or node, counted apart.
        out_of_memory: Retries after an out-of-memory kill, counted apart.
        explicit: Whether the workflow set it; if not, a tool's own Ray options may.
    """

    max_attempts: int = 5
    initial: timedelta = timedelta(seconds=1)
    maximum: timedelta = timedelta(seconds=60)
    multiplier: float = 2.0
    jitter: bool = True
    on: tuple[str, ...] = ()
    worker_lost: int = 5
    out_of_memory: int = 2
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What an attempt takes of the cluster while it runs.

    Attributes:
        cpus: CPUs; None: the tool's own, else 1.
        gpus: GPUs.
        memory: Bytes; also the limit above which the attempt is ended as out of memory.
        custom: Custom Ray resources by name.
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None
    custom: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """What a run may do; pinned at its start.

    Attributes:
        host_tools: Whether the built-ins that reach the host (`shell`, `python`, `http`) are allowed, and functions of the base
            environment that are not installed as tools (`subprocess:run`).
        secrets: The names of the secrets it may see; None: all.
    """

    host_tools: bool = True
    secrets: tuple[str, ...] | None = None
