"""What an error of Ray means for an attempt."""

from __future__ import annotations

from typing import Final

from shoal.errors import EnvironmentBuildError, InternalError, OutOfMemoryError, StepFailedError, WorkerLostError
from shoal.executors.attempt import stopped, where
from shoal.executors.ray.library import load_exceptions
from shoal.model.attempts import AttemptCall, Failed

_LOST: Final = (
    "WorkerCrashedError",
    "ActorDiedError",
    "ActorUnavailableError",
    "RayActorError",
    "NodeDiedError",
    "ObjectLostError",
    "OwnerDiedError",
    "ObjectReconstructionFailedError",
    "RaySystemError",
    "RayChannelError",
)


def is_lost(error: BaseException) -> bool:
    """Whether the worker went away, for whatever reason."""
    rx = load_exceptions()
    return isinstance(error, tuple(getattr(rx, name) for name in _LOST if hasattr(rx, name)))


def is_ray_gone(error: BaseException) -> bool:
    """Whether Ray on this node went away: nothing that is submitted from here is carried any more."""
    return isinstance(error, load_exceptions().LocalRayletDiedError)


def verdict(call: AttemptCall, error: BaseException) -> Failed:
    """Return the outcome of an attempt for which Ray has an error instead of a result."""
    rx = load_exceptions()
    place = {"run_id": call.run_id, "step": call.path}
    kind = type(error).__name__
    if isinstance(error, rx.TaskCancelledError):
        return stopped(call)
    if isinstance(error, rx.OutOfMemoryError):
        message = f"{where(call)} was ended by Ray: its node ran out of memory"
        return Failed(OutOfMemoryError(message, hint="give the step resources.memory", **place))
    if isinstance(error, rx.RuntimeEnvSetupError):
        message = f"the environment of {where(call)} could not be launched: {_short(error)}"
        return Failed(EnvironmentBuildError(message, **place))
    if isinstance(error, rx.TaskUnschedulableError):
        return Failed(StepFailedError(f"{where(call)} fits on no node: {_short(error)}", **place), retryable=False)
    if is_lost(error):
        return Failed(WorkerLostError(f"the worker of {where(call)} died ({kind})", **place))
    return Failed(InternalError(f"{where(call)}: Ray raised {kind}: {_short(error)}"))


def unschedulable(call: AttemptCall, shortage: str) -> Failed:
    """Return the outcome of an attempt that no node could ever carry."""
    message = f"{where(call)} asks for more than any node has: {shortage}"
    hint = "lower the step's resources, or add a node that has them"
    return Failed(StepFailedError(message, run_id=call.run_id, step=call.path, hint=hint), retryable=False)


def _short(error: BaseException, limit: int = 1000) -> str:
    text = str(error).strip()
    return text if len(text) <= limit else text[:limit] + " ..."
