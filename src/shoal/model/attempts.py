"""An attempt's call to an executor, and what comes back.

Owns the forms that cross from the orchestrator to a worker and back; all of them pickle and hold no handle of a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from shoal.errors import ShoalError
from shoal.model.ids import AttemptId, RunId, StepPath
from shoal.model.policies import Isolation, Resources
from shoal.model.run import Progress
from shoal.model.tools import BuiltEnvironment, ToolLock
from shoal.model.values import Arguments, Json, Value


@dataclass(frozen=True, slots=True)
class AttemptCall:
    """One attempt, ready to be carried out.

    Attributes:
        number: Attempt number, from 1.
        arguments: Keyword inputs; its root is a mapping.
        secrets: The secrets that `arguments` and `env` name, by name; their values are masked in everything that comes
            back but the result.
        env: Environment variables of the attempt; may hold secrets.
        environment: Where its environment stands; None: the base environment.
        outputs: Declared output names.
        timeout: From the worker's start of the attempt.
        grace: How long it may go on after its cancel flag was set.
    """

    attempt_id: AttemptId
    run_id: RunId
    path: StepPath
    number: int
    tool: ToolLock
    arguments: Arguments
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    context: dict[str, Json] = field(default_factory=dict[str, Json])
    environment: BuiltEnvironment | None = None
    outputs: tuple[str, ...] = ()
    isolation: Isolation = Isolation.POOL
    resources: Resources = Resources()
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Continuation:
    """More work that a tool answered with.

    Attributes:
        target: A tool reference's text, or a workflow as a mapping. Not yet validated.
        inputs: Literal, never evaluated.
        requirements: Further requirements of a tool.
        form: What a mapping is: `language`: as in a file. `model`: the JSON form of a `Workflow`, from a Python DAG.
    """

    target: str | dict[str, Json]
    inputs: Arguments
    requirements: tuple[str, ...] = ()
    form: Literal["language", "model"] = "language"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The tool returned; every value larger than the inline limit is a durable blob."""

    outputs: Mapping[str, Value]
    kind: ClassVar[str] = "succeeded"


@dataclass(frozen=True, slots=True)
class Continued:
    """The tool answered with more work."""

    continuation: Continuation
    kind: ClassVar[str] = "continued"


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    Attributes:
        error: `StepFailedError` (with `exception` and `traceback`), `StepTimeoutError`, `WorkerLostError`,
            `OutOfMemoryError`, `EnvironmentBuildError`, `NonRetryableError`, `RunCanceledError` (the attempt yielded to
            its cancel flag or was ended for it), `AttemptInterruptedError`, or `InternalError`.
        exception_names: Simple and qualified names of the tool's exception and of its bases, for `retry.on`.
        retryable: Whether a retry may help at all.
        caught: For a step with `catch`: the pair of None and the exception itself.
    """

    error: ShoalError
    exception_names: tuple[str, ...] = ()
    retryable: bool = True
    caught: Value | None = None
    kind: ClassVar[str] = "failed"


Outcome = Succeeded | Continued | Failed


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of an attempt, reported exactly once for each attempt submitted.

    Attributes:
        started_at: The worker's start of it, by the worker's clock; None if it never started.
        logs: What it printed and logged that no notice carried.
        logs_dropped: Bytes dropped over the log limit.
    """

    attempt_id: AttemptId
    outcome: Outcome
    started_at: datetime | None = None
    finished_at: datetime | None = None
    logs: bytes = b""
    logs_dropped: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an attempt under way let us know; best effort, may be lost with the mailbox.

    Attributes:
        started_at: Set in the first notice of an attempt.
        logs: Log bytes since the last notice.
    """

    attempt_id: AttemptId
    started_at: datetime | None = None
    progress: Progress | None = None
    logs: bytes = b""
    logs_dropped: int = 0
