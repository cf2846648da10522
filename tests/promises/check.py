"""The test of the promises: what a journal and the notes of the tools must say of a run, however often it was disturbed."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import shoal
from shoal.model.run import RunStatus, StepStatus

HERE = Path(__file__).parent
FLOW = HERE / "promises.yaml"
OUTPUTS = {
    "chain": 9,
    "items": [2, 3, 4, 5, 6, 7, 8, 9],
    "total": 44,
    "size": 200_000,
    "counted": 21,
    "nested": 5,
    "unwanted": None,
}
"""Of an undisturbed run."""


def notes(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


async def check_promises(home: Path, run_id: str, log: Path, *, disturbances: int) -> None:
    """Assert that a run kept its promises.

    Every step at least once; no attempt starts after the commit of its step's result; outputs as if undisturbed; at most
    one more attempt a step a disturbance.
    """
    async with shoal.connect(home=str(home)) as client:
        view = await client.show(run_id)
        assert view.run.status is RunStatus.SUCCEEDED, view.run.error
        assert view.outputs == OUTPUTS
        lines = notes(log)
        by_key: dict[str, list[dict]] = {}
        for line in lines:
            by_key.setdefault(line["key"], []).append(line)
        nested = next(s.child_run_id for s in view.steps if s.name == "nested")
        for identity in (run_id, nested):
            for step in await client.store.steps(identity):
                mine = by_key.pop(f"{identity}:{step.path}", [])
                if step.status is StepStatus.SUCCEEDED and step.attempts:
                    assert mine or step.child_run_id, f"{step.path} never ran"
                    assert step.finished_at is not None
                    late = [n for n in mine if datetime.fromtimestamp(n["at"], tz=step.finished_at.tzinfo) > step.finished_at]
                    assert not late, f"{step.path} ran again after its result was recorded"
                elif step.status is StepStatus.SKIPPED:
                    assert not mine
                allowed = 1 + disturbances + (2 if step.name == "flaky" else 0)
                numbers = Counter(n["attempt"] for n in mine)
                assert len(mine) <= allowed, f"{step.path}: {len(mine)} attempts, {disturbances} disturbances"
                assert max(numbers.values(), default=1) == 1, f"{step.path}: an attempt number was given out twice"
        assert not by_key, f"attempts of steps that the journal does not know: {sorted(by_key)}"
