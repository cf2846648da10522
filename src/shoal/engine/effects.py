"""What the engine asks of its driver, to be done once the changes it came with are committed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shoal.model.ids import AttemptId, RunId, StepPath
from shoal.model.run import Change, NewRun
from shoal.model.values import Arguments, Result
from shoal.model.workflow import Step


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Carry out an attempt.

    Attributes:
        arguments: Root is the mapping of keyword inputs.
        env: Root is a mapping of strings.
    """

    path: StepPath
    number: int
    attempt_id: AttemptId
    step: Step
    arguments: Arguments
    env: Arguments


@dataclass(frozen=True, slots=True)
class CancelAttempts:
    """Set the cancel flags of attempts; what does not yield within `grace` ends with its process."""

    attempts: tuple[AttemptId, ...]


TimerKind = Literal["wake", "deadline", "timeout"]


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call back at a time; a timer that is no longer wanted is called all the same, and ignored.

    Attributes:
        path: The step; None: the run.
        kind: `wake`: a sleep, a wait's time-out or a retry. `deadline`: a step's. `timeout`: the run's.
    """

    path: StepPath | None
    at: datetime
    kind: TimerKind


@dataclass(frozen=True, slots=True)
class DriveChild:
    """Drive the run of a sub-workflow under the same lease, and tell its end.

    Attributes:
        new: The run, if it was created with these changes.
        reopen: Whether a run that failed or was canceled is to be taken up again.
    """

    run_id: RunId
    new: NewRun | None = None
    reopen: bool = False


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Cancel the run of a sub-workflow."""

    run_id: RunId


@dataclass(frozen=True, slots=True)
class Gather:
    """Gather the outputs of all items of a `foreach` into one manifest value for each output, and tell.

    Attributes:
        count: How many items there are.
        kept: Outputs by item, where they are not in the journal (`checkpoint: false`).
    """

    path: StepPath
    count: int
    kept: tuple[Result | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The run has ended; its last changes are among those this came with."""


Effect = Dispatch | CancelAttempts | SetTimer | DriveChild | CancelChild | Gather | Finished


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one or more inputs: changes to commit first, then effects to carry out, each in order."""

    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]


CANCEL_GRACE = timedelta(seconds=5)
"""`cancel_grace`: how long a canceled attempt may go on."""
