"""The JSON of a run, as `--json` prints it and the HTTP API returns it. Stable: fields are added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoal.cli.inspection import StepView
from shoal.cli.spans import iso
from shoal.model.events import Event
from shoal.model.run import AttemptRecord, RunRecord, StepRecord
from shoal.model.tools import ToolLock

if TYPE_CHECKING:
    from shoal.client import RunView


def run_to_json(view: RunView) -> dict[str, Any]:
    """Return `{run_id, workflow, status, outputs, error, steps}`; steps are the definition's, in its order."""
    run = view.run
    return {
        "run_id": run.id,
        "workflow": run.workflow_id,
        "status": run.shown_status,
        "outputs": view.outputs,
        "error": run.error.to_json() if run.error else None,
        "steps": [step_to_json(step) for step in defined_steps(view.steps)],
    }


def tools_to_json(view: RunView) -> dict[str, Any]:
    """Return `{tools: [{tool, isolation, version, packages, environment}], lock_file}`: what a run is pinned to."""
    use = view.lock_file
    return {
        "tools": [tool_to_json(lock) for lock in view.run.locks or ()],
        "lock_file": {"digest": use.digest, "remarks": list(use.remarks)} if use is not None else None,
    }


def tool_to_json(lock: ToolLock) -> dict[str, Any]:
    """Return `{tool, isolation, version, packages, environment}`; the last is the digest of the environment's lock."""
    environment = lock.environment
    return {
        "tool": lock.request.reference.text,
        "isolation": environment.kind if environment is not None else "base",
        "version": lock.distribution[1] if lock.distribution is not None else None,
        "packages": [f"{p.name}=={p.version}" for p in environment.packages] if environment is not None else [],
        "environment": environment.digest if environment is not None else None,
    }


def defined_steps(steps: Sequence[StepRecord]) -> list[StepRecord]:
    """Return the steps of the definition: of a `finally` step that was entered again, the last entry; none spawned."""
    latest: dict[str, StepRecord] = {}
    for step in steps:
        if not step.scope and (step.name not in latest or step.entry >= latest[step.name].entry):
            latest[step.name] = step
    return list(latest.values())


def step_to_json(step: StepRecord) -> dict[str, Any]:
    """Return `{name, status, attempts, started_at, finished_at, error, items?, spawned?, child_run_id?}`."""
    data: dict[str, Any] = {
        "name": step.name,
        "status": step.status.value,
        "attempts": step.attempts,
        "started_at": iso(step.started_at),
        "finished_at": iso(step.finished_at),
        "error": step.error.to_json() if step.error else None,
    }
    if step.items is not None:
        counts = step.items
        data["items"] = {
            "total": counts.total,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "canceled": counts.canceled,
        }
    if step.spawned:
        data["spawned"] = step.spawned
    if step.child_run_id is not None:
        data["child_run_id"] = step.child_run_id
    return data


def step_view_to_json(run_id: str, view: StepView) -> dict[str, Any]:
    """Return what `show --step` prints: the step with its path, what goes in and out and, as `history`, its attempts."""
    return {
        "run_id": run_id,
        "path": view.step.path,
        **step_to_json(view.step),
        "outputs": view.outputs,
        "inputs": view.inputs,
        "history": [attempt_to_json(attempt) for attempt in view.attempts],
    }


def attempt_to_json(attempt: AttemptRecord) -> dict[str, Any]:
    """Return `{number, outcome, started_at, finished_at, node, error}`."""
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "started_at": iso(attempt.started_at),
        "finished_at": iso(attempt.finished_at),
        "node": attempt.node,
        "error": attempt.error.to_json() if attempt.error else None,
    }


def record_to_json(run: RunRecord) -> dict[str, Any]:
    """Return a run as `runs` lists it: without outputs and steps."""
    return {
        "run_id": run.id,
        "workflow": run.workflow_id,
        "status": run.shown_status,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "parent_run_id": run.parent.run_id if run.parent else None,
        "error": run.error.to_json() if run.error else None,
    }


def event_to_json(event: Event) -> dict[str, Any]:
    """Return `{seq, at, name, path, data}`."""
    return {"seq": event.seq, "at": iso(event.at), "name": event.name, "path": event.path, "data": event.data}
