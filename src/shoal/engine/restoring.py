"""From what the journal holds back to the state of a run: a start, a takeover and a resume are the same thing.

A run that was just created has no rows, and everything in it is pending. Nothing recorded runs again; an attempt that was
under way when its owner died is given up and its step starts another. A resume of a run that failed or was canceled puts
back what failed, was canceled or was not reached.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass

from shoal.engine import loops, scopes
from shoal.engine.effects import DriveChild, SetTimer
from shoal.engine.ending import end, is_leaf
from shoal.engine.references import referenced_steps
from shoal.engine.state import Phase, RunState, ScopeState, StepState, Stop, Todo
from shoal.engine.view import StepView
from shoal.errors import ExpressionError, PoisonStepError
from shoal.language.evaluation import evaluate
from shoal.model.ids import StepName, StepPath, item_path, split_item
from shoal.model.policies import OnError
from shoal.model.run import AttemptChanged, RunSnapshot, ScopeRecord, StepRecord, StepStatus, SuspectsChanged
from shoal.model.workflow import CallTool, RunWorkflow, WaitSignal

POISON_TAKEOVERS = 3
"""After so many automatic takeovers in a row with the same step running it fails."""

_PUT_BACK = (StepStatus.FAILED, StepStatus.CANCELED)


@dataclass(slots=True)
class _Book:
    rows: dict[StepPath, StepRecord]
    items: dict[StepPath, list[StepRecord]]
    scopes: dict[StepPath, ScopeRecord]
    snapshot: RunSnapshot
    reopen: bool
    poisoned: set[StepPath]


def restore(run: RunState, snapshot: RunSnapshot, *, automatic: bool, reopen: bool) -> None:
    """Bring the state of a run to where its journal stands, and queue what comes next.

    Args:
        run: With an empty root scope of the run's graph.
        snapshot: What the journal holds.
        automatic: The run was taken over from an owner that died, and not asked for explicitly.
        reopen: The run has ended and is to go on: put back what did not succeed.
    """
    items: dict[StepPath, list[StepRecord]] = {}
    for row in snapshot.steps:
        if (split := split_item(row.path)) is not None:
            items.setdefault(split[0], []).append(row)
    book = _Book(
        rows={row.path: row for row in snapshot.steps},
        items=items,
        scopes={record.owner: record for record in sorted(snapshot.scopes, key=lambda s: s.first)},
        snapshot=snapshot,
        reopen=reopen,
        poisoned=_count_suspects(run, snapshot, automatic=automatic),
    )
    for attempt in snapshot.attempts:
        run.changes.append(AttemptChanged(dataclasses.replace(attempt, outcome="lost_owner", finished_at=run.now)))
    _resume_scope(run, run.root, book)


def _count_suspects(run: RunState, snapshot: RunSnapshot, *, automatic: bool) -> set[StepPath]:
    before = snapshot.run.suspects
    if not automatic:
        if before:
            run.changes.append(SuspectsChanged({}))
        return set()
    running = {attempt.path for attempt in snapshot.attempts}
    run.suspects = {path: before.get(path, 0) + 1 for path in running}
    if run.suspects or before:
        run.changes.append(SuspectsChanged(run.suspects))
    return {path for path, count in run.suspects.items() if count >= POISON_TAKEOVERS}


def _resume_scope(run: RunState, scope: ScopeState, book: _Book) -> None:
    recorded: list[tuple[StepState, StepRecord]] = []
    for name, first in list(scope.steps.items()):
        state = _latest_entry(run, scope, name, first, book) if first.is_finally else first
        row = book.rows.get(state.path)
        if row is None:
            continue
        _load(state, row)
        if book.reopen:
            _put_back(run, state, row)
        recorded.append((state, row))
    _rerun_unrecorded(run, scope)
    if all(s.status.ended for s in scope.steps.values() if not s.is_finally) and not _only_fresh_finals(scope, book):
        scope.phase = Phase.FINALLY
    for state in scope.steps.values():
        state.unmet = sum(1 for need in state.step.needs if _stands_before(scope, state, need))
        if state.status is StepStatus.FAILED and state.step.on_error is OnError.FAIL and scope.failed is None:
            scope.failed = state
    scopes.count(scope)  # before anything goes on: a step that ends while it is put back is counted off like any other
    for state, row in recorded:
        if not state.status.ended and not _starts_afresh(state):
            _go_on(run, state, row, book)
    if scope.failed is not None and scope.phase is Phase.MAIN:
        scopes.stop(run, scope, Stop.FAILING)
    scopes.proceed(run, scope)


def _only_fresh_finals(scope: ScopeState, book: _Book) -> bool:
    """Whether nothing of the scope was ever recorded and it has no main steps at all."""
    return not scope.workflow.steps and not book.rows


def _starts_afresh(state: StepState) -> bool:
    return state.status is StepStatus.PENDING and state.error is None and state.wake_at is None


def _stands_before(scope: ScopeState, state: StepState, need: StepName) -> bool:
    other = scope.steps[need]
    return not other.status.ended and (not state.is_finally or other.is_finally)


def _latest_entry(run: RunState, scope: ScopeState, name: StepName, first: StepState, book: _Book) -> StepState:
    """Return the state of a `finally` step's latest entry; a resume of an ended run enters it once more."""
    base, entry = first.path, 1
    while StepPath(f"{base}#{entry + 1}") in book.rows:
        entry += 1
    if book.reopen and base in book.rows:
        entry += 1
    if entry == 1:
        return first
    state = dataclasses.replace(first, path=StepPath(f"{base}#{entry}"), entry=entry)
    scope.steps[name] = state
    run.steps.pop(first.path, None)
    run.steps[state.path] = state
    return state


def _load(state: StepState, row: StepRecord) -> None:
    state.status = row.status
    state.attempts, state.exceptions = row.attempts, row.exceptions
    state.lost, state.out_of_memory = row.lost, row.out_of_memory
    state.result, state.error, state.skip_reason = row.result, row.error, row.skip_reason
    state.started_at, state.finished_at, state.wake_at = row.started_at, row.finished_at, row.wake_at
    state.child, state.spawned = row.child_run_id, row.spawned


def _put_back(run: RunState, state: StepState, row: StepRecord) -> None:
    """Reset what failed, was canceled or was not reached; what it started (items, spawned steps, a run) is gone on with."""
    not_reached = state.status is StepStatus.SKIPPED and state.skip_reason == "not_reached"
    if state.status not in _PUT_BACK and not not_reached:
        return
    began = row.items is not None or row.delegate is not None or row.child_run_id is not None
    state.status = StepStatus.RUNNING if began else StepStatus.PENDING
    state.exceptions = state.lost = state.out_of_memory = 0
    state.error = state.skip_reason = state.finished_at = state.wake_at = state.started_at = None
    run.save(state)


def _rerun_unrecorded(run: RunState, scope: ScopeState) -> None:
    """Put back steps whose results were not stored, where something unfinished refers to them."""
    lost = {n for n, s in scope.steps.items() if s.status is StepStatus.SUCCEEDED and not s.step.checkpoint}
    if not lost:
        return
    wanted = referenced_steps(scope.workflow.outputs or ())
    if scope.workflow.outputs is None and scope.workflow.steps:
        wanted |= {scope.workflow.steps[-1].name}
    unsettled = [s for s in scope.steps.values() if not s.status.ended]
    for state in unsettled:
        wanted |= referenced_steps(state.step)
    while again := lost & wanted:
        lost -= again
        for name in again:
            state = scope.steps[name]
            state.status = StepStatus.PENDING
            state.finished_at = state.wake_at = state.error = None
            run.save(state)
            wanted |= referenced_steps(state.step)


def _go_on(run: RunState, state: StepState, row: StepRecord, book: _Book) -> None:
    """Put a step that was under way back to work."""
    state.scope.live[state.path] = state
    step = state.step
    if state.started_at is None:
        state.started_at = run.now
    if step.deadline is not None and state.index is None:
        run.effects.append(SetTimer(state.path, state.started_at + step.deadline, "deadline"))
    if state.is_loop:
        _go_on_with_loop(run, state, book)
    elif row.delegate is not None and state.path in book.scopes:
        _go_on_with_scope(run, state, book)
    elif isinstance(step.action, RunWorkflow) and state.child is not None and state.wake_at is None:
        run.busy += 1
        state.status = StepStatus.RUNNING
        run.children[state.child] = state
        run.effects.append(DriveChild(state.child, reopen=book.reopen))
    elif isinstance(step.action, CallTool | RunWorkflow):
        _go_on_with_tool(run, state, book)
    else:
        _go_on_waiting(run, state)


def _go_on_with_tool(run: RunState, state: StepState, book: _Book) -> None:
    run.busy += is_leaf(state)
    state.status = StepStatus.PENDING
    if state.path in book.poisoned:
        text = f"step {state.path!r} was running each of the last {POISON_TAKEOVERS} times that its owner died"
        end(run, state, StepStatus.FAILED, error=PoisonStepError(text, hint="`shoal resume` tries it again"))
    elif state.wake_at is not None:
        run.effects.append(SetTimer(state.path, state.wake_at, "wake"))
    else:
        run.ready.append(state)


def _go_on_waiting(run: RunState, state: StepState) -> None:
    state.status = StepStatus.WAITING
    run.waiting += 1
    if state.wake_at is not None:
        run.effects.append(SetTimer(state.path, state.wake_at, "wake"))
    if isinstance(state.step.action, WaitSignal):
        try:
            name = evaluate(state.step.action.signal, StepView(run, state.scope, state))
        except ExpressionError as error:
            end(run, state, StepStatus.FAILED, error=error)
            return
        state.waits_for = str(name)
        run.waiters.setdefault(state.waits_for, deque()).append(state)


def _go_on_with_scope(run: RunState, state: StepState, book: _Book) -> None:
    record = book.scopes[state.path]
    top = StepPath(state.path.partition("/")[0].partition("[")[0])
    state.status = StepStatus.RUNNING
    state.opened = scopes.build(
        run, record.workflow, record.inputs, state, lambda number, _: StepPath(f"{top}/{record.first + number}")
    )
    _resume_scope(run, state.opened, book)


def _go_on_with_loop(run: RunState, state: StepState, book: _Book) -> None:
    if not loops.open_items(run, state):
        return
    loop = state.loop
    assert loop is not None  # noqa: S101 - open_items made it
    state.status = StepStatus.RUNNING
    rows = {row.path: row for row in book.items.get(state.path, ())}
    for index, status in book.snapshot.ended_items.get(state.path, {}).items():
        row = rows.get(item_path(state.path, index))
        put_back = book.reopen and (status in _PUT_BACK or (row is not None and row.skip_reason == "not_reached"))
        if put_back or (status is StepStatus.SUCCEEDED and not state.step.checkpoint):
            if row is not None:
                loop.rows[index] = row
            continue
        loop.mark(index, status)
        if status is StepStatus.FAILED and state.step.on_error is OnError.FAIL:
            loop.stopped, loop.failed = True, item_path(state.path, index)
            loop.error = row.error if row is not None else None
    for row in rows.values():
        split = split_item(row.path)
        if split is None or row.status.ended:
            continue
        item = loops.make_item(run, state, loop, split[1])
        _load(item, row)
        _go_on(run, item, row, book)
    run.loops[state.path] = state  # how far it is, is told at once
    run.later(Todo.ADVANCE, state)
