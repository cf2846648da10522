"""`foreach`: items as they are started, counted and gathered."""

from __future__ import annotations

from shoal.engine.effects import Gather
from shoal.engine.ending import end
from shoal.engine.state import LoopState, RunState, StepState, Todo
from shoal.engine.view import StepView
from shoal.errors import ExpressionError
from shoal.language.evaluation import evaluate_items
from shoal.model.ids import item_path
from shoal.model.policies import OnError
from shoal.model.run import StepStatus
from shoal.model.values import Result


def begin(run: RunState, state: StepState) -> None:
    """Start a loop: evaluate its items, and let them start."""
    if not open_items(run, state):
        return
    state.status = StepStatus.RUNNING
    run.save(state)
    run.later(Todo.ADVANCE, state)


def open_items(run: RunState, state: StepState) -> bool:
    """Evaluate the items of a loop; false if that failed, which ends the step."""
    step = state.step
    assert step.foreach is not None  # noqa: S101 - the caller asked is_loop
    try:
        items = evaluate_items(step.foreach, StepView(run, state.scope))
    except ExpressionError as error:
        end(run, state, StepStatus.FAILED, error=error)
        return False
    limit = step.concurrency or 2 * run.slots(step.resources)
    state.loop = LoopState(items, bytearray(len(items)), limit)
    if not step.checkpoint:
        state.loop.kept = list[Result | None]([None] * len(items))
    return True


def advance(run: RunState, state: StepState) -> None:
    """Start as many items as the loop's own limit allows; end the loop when none is left."""
    loop = state.loop
    if loop is None or state.status.ended or loop.gathering:
        return
    while not loop.stopped and loop.live < loop.limit and loop.next < len(loop.ended):
        index = loop.next
        loop.next += 1
        if not loop.ended[index] and item_path(state.path, index) not in run.steps:
            run.later(Todo.CONSIDER, make_item(run, state, loop, index))
    if loop.live:
        return
    if loop.failed is not None:
        end(run, state, StepStatus.FAILED, error=loop.error)
    elif loop.done < len(loop.ended) or loop.canceled:
        end(run, state, StepStatus.CANCELED)
    elif not loop.ended:
        end(run, state, StepStatus.SUCCEEDED, result={name: run.values.store([]) for name in state.step.outputs})
    else:
        loop.gathering = True
        kept = tuple(loop.kept) if loop.kept is not None else None
        run.effects.append(Gather(state.path, len(loop.ended), kept))


def make_item(run: RunState, owner: StepState, loop: LoopState, index: int) -> StepState:
    """Return the state of an item, counted as live."""
    path = item_path(owner.path, index)
    item = StepState(owner.step, path, owner.scope, is_finally=owner.is_finally, entry=owner.entry)
    item.index, item.item, item.loop_step = index, loop.items[index], owner
    loop.live += 1
    if (row := loop.rows.pop(index, None)) is not None:
        item.attempts = row.attempts
    run.steps[path] = item
    return item


def drop_item(run: RunState, item: StepState) -> None:
    """Forget an item that was never attempted, since its loop has stopped."""
    owner = item.loop_step
    run.steps.pop(item.path, None)
    if owner is not None and owner.loop is not None:
        owner.loop.live -= 1
        run.later(Todo.ADVANCE, owner)


def item_ended(run: RunState, item: StepState) -> None:
    """Count an item that ended, and go on with its loop."""
    owner, index = item.loop_step, item.index
    if owner is None or owner.loop is None or index is None:
        return
    loop = owner.loop
    run.steps.pop(item.path, None)
    loop.live -= 1
    loop.mark(index, item.status)
    run.loops[owner.path] = owner
    if loop.kept is not None:
        loop.kept[index] = item.result
    if item.status is StepStatus.FAILED and item.step.on_error is OnError.FAIL:
        if loop.failed is None:
            loop.failed, loop.error = item.path, item.error
        loop.stopped = True
    elif item.status is StepStatus.CANCELED:
        loop.stopped = True
    run.later(Todo.ADVANCE, owner)


def gathered(run: RunState, state: StepState, result: Result) -> None:
    """End a loop with its gathered outputs."""
    if state.loop is not None and state.loop.gathering and not state.status.ended:
        end(run, state, StepStatus.SUCCEEDED, result=result)
