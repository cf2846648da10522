"""A run as people see it: its row, its steps, what is being built, its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shoal.model.encoding import show
from shoal.model.ids import RunId, StepPath
from shoal.model.locks import LockFileUse
from shoal.model.run import Progress, RunRecord, StepRecord, StepStatus
from shoal.model.values import INLINE_LIMIT, Json
from shoal.model.workflow import Workflow
from shoal.ports import BlobStore, RunStore

SHOWN_OUTPUT_LIMIT = 16 * INLINE_LIMIT
"""Bytes of an output above which only its digest is shown."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run at one moment.

    Attributes:
        steps: The definition's steps in their order, `finally` steps after them, one that was not recorded yet as
            pending; then spawned steps. No items of a `foreach`.
        builds: Environment builds under way, by tool.
        outputs: The run's outputs, if it succeeded; what is no JSON, or large, as `{"$ref": digest, "type", "bytes"}`.
        lock_file: The lock file that the run was started beside, if there was one.
    """

    run: RunRecord
    workflow: Workflow
    steps: Sequence[StepRecord]
    builds: Mapping[str, Progress] = field(default_factory=dict[str, Progress])
    outputs: dict[str, Json] | None = None
    lock_file: LockFileUse | None = None


class Viewer:
    """Makes views of one run; remembers its definition and which environments are being built."""

    def __init__(self, store: RunStore, blobs: BlobStore, run_id: RunId) -> None:
        """Look at a run through its journal."""
        self._store = store
        self._blobs = blobs
        self._run_id = run_id
        self._workflow: Workflow | None = None
        self._lock_file: LockFileUse | None = None
        self._builds: dict[str, Progress] = {}
        self._seen = 0

    async def look(self) -> RunView:
        """Return the run as it stands. Raises `NotFoundError`."""
        run = await self._store.run(self._run_id)
        if self._workflow is None:
            spec = await self._store.spec(self._run_id)
            self._workflow, self._lock_file = spec.workflow, spec.lock_file
        await self._follow_builds()
        recorded = await self._store.steps(self._run_id, items=False)
        outputs = None
        if run.outputs is not None:
            outputs = {key: show(v, self._blobs.get, limit=SHOWN_OUTPUT_LIMIT) for key, v in run.outputs.items()}
        return RunView(run, self._workflow, in_order(self._workflow, recorded), dict(self._builds), outputs, self._lock_file)

    async def _follow_builds(self) -> None:
        while events := await self._store.events(self._run_id, after=self._seen):
            self._seen = events[-1].seq
            for event in events:
                tool = str(event.data.get("tool", ""))
                if event.name == "environment.building":
                    self._builds[tool] = Progress(0.0, None, "building")
                elif event.name == "environment.built":
                    self._builds.pop(tool, None)


def in_order(workflow: Workflow, recorded: Sequence[StepRecord]) -> list[StepRecord]:
    """Return the rows of a run in the order of its definition, pending ones made up, spawned ones last."""
    latest: dict[str, StepRecord] = {}
    spawned: list[StepRecord] = []
    for row in recorded:
        if row.scope:
            spawned.append(row)
        elif row.name not in latest or row.entry >= latest[row.name].entry:
            latest[row.name] = row
    ordered = [
        latest.get(step.name) or StepRecord(StepPath(step.name), step.name, StepStatus.PENDING)
        for step in (*workflow.steps, *workflow.finally_steps)
    ]
    return ordered + spawned
