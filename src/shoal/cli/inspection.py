"""A closer look at a run than its view gives: one step with its attempts, the inputs it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from shoal.cli.sources import template_text
from shoal.model.encoding import fill, show
from shoal.model.ids import RunId, StepPath, split_item
from shoal.model.run import AttemptRecord, StepRecord, StepStatus
from shoal.model.values import Hole, Json, SecretText
from shoal.model.workflow import Step, Workflow

if TYPE_CHECKING:
    from shoal.client import Client

_FAILED_ITEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class StepView:
    """A step to show.

    Attributes:
        attempts: In the order of their start.
        inputs: As the workflow has them, references unevaluated; None for a spawned step, whose graph is not the run's.
        outputs: In their shown form; None: there are none.
        failed_items: Of a `foreach` the first items that failed.
    """

    step: StepRecord
    attempts: Sequence[AttemptRecord]
    inputs: dict[str, Json] | None
    outputs: dict[str, Json] | None
    failed_items: Sequence[StepRecord] = ()


async def look_at_step(client: Client, run_id: str, path: str) -> StepView:
    """Return one step of a run. Raises `NotFoundError`."""
    run, where = RunId(run_id), StepPath(path)
    step = await client.store.step(run, where)
    attempts = await client.store.attempts(run, where)
    definition = _definition(await client.workflow(run_id), step)
    return StepView(
        step,
        attempts,
        {name: template_text(template) for name, template in definition.inputs} if definition else None,
        {key: show(value, client.blobs.get) for key, value in step.result.items()} if step.result is not None else None,
        await _failed_items(client, run, step),
    )


async def inputs_of(client: Client, run_id: RunId) -> dict[str, Json]:
    """Return the inputs that a run is pinned to, in their shown form. Raises `NotFoundError`."""

    def shown(hole: Hole) -> Any:
        return "(a secret)" if isinstance(hole, SecretText) else show(hole, client.blobs.get)

    return cast("dict[str, Json]", fill((await client.store.spec(run_id)).inputs, shown))


def _definition(workflow: Workflow, step: StepRecord) -> Step | None:
    if step.scope:
        return None
    return next((s for s in (*workflow.steps, *workflow.finally_steps) if s.name == step.name), None)


async def _failed_items(client: Client, run_id: RunId, step: StepRecord) -> Sequence[StepRecord]:
    if step.items is None or not step.items.failed:
        return ()
    found: list[StepRecord] = []
    for row in await client.store.steps(run_id):
        item = split_item(row.path)
        if item is not None and item[0] == step.path and row.status is StepStatus.FAILED:
            found.append(row)
    return found[:_FAILED_ITEMS_SHOWN]
