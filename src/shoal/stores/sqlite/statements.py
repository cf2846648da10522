"""Every statement that the journal is read and written with.

Owns the SQL. Each is built once for the process; lists travel as one JSON parameter, so that the text, and with it the
driver's prepared statement, stays the same whatever their length.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.sql import Select

from shoal.model.run import ResumeCommand, RunStatus, StepStatus
from shoal.stores.sqlite import rows
from shoal.stores.sqlite.schema import attempts, blobs, events, inbox, leases, runs, scopes, specs, steps

_ZERO: Final = literal_column("0", Integer())
_UNDER_WAY: Final = [literal_column(f"'{s.value}'", Text()) for s in RunStatus if not s.ended]
_RUN_ENDED: Final = [literal_column(f"'{s.value}'", Text()) for s in RunStatus if s.ended]
_STEP_ENDED: Final = [literal_column(f"'{s.value}'", Text()) for s in StepStatus if s.ended]


def _listed(name: str) -> Select[Any]:
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


def _insert(table: Table, names: tuple[str, ...]) -> Any:
    return insert(table).values({name: bindparam(name) for name in names}).inline()


def _upsert(table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Any:
    statement = _insert(table, names)
    return statement.on_conflict_do_update(
        index_elements=key, set_={name: statement.excluded[name] for name in names if name not in key}
    )


def _where(table: Table, **columns: str) -> ColumnElement[bool]:
    return and_(*(table.c[column] == bindparam(name) for column, name in columns.items()))


# ---------------------------------------------------------------- commit

FENCES: Final = (
    select(
        runs.c.id,
        runs.c.root_id,
        leases.c.epoch,
        leases.c.owner,
        select(func.max(events.c.seq)).where(events.c.run_id == runs.c.id).scalar_subquery(),
    )
    .join_from(runs, leases, leases.c.run_id == runs.c.root_id)
    .where(runs.c.id.in_(_listed("ids")))
)
NEW_RUN_COLUMNS: Final = (
    "id", "workflow_id", "root_id", "parent_id", "parent_path", "status", "created_at", "parked", "cancel_requested",
    "executor", "fingerprint", "retry_of",
)  # fmt: skip
INSERT_RUN: Final = _insert(runs, NEW_RUN_COLUMNS)
INSERT_SPEC: Final = _insert(specs, ("run_id", "spec"))
INSERT_LEASE: Final = _insert(leases, ("run_id", "owner", "epoch", "taken_at", "expires_at"))
INSERT_EVENT: Final = _insert(events, rows.EVENT_COLUMNS)
INSERT_BLOB: Final = _insert(blobs, ("run_id", "digest")).on_conflict_do_nothing()
UPSERT_STEP: Final = _upsert(steps, rows.STEP_COLUMNS, ("run_id", "path"))
UPSERT_ATTEMPT: Final = _upsert(attempts, rows.ATTEMPT_COLUMNS, ("run_id", "path", "number"))
UPSERT_SCOPE: Final = _upsert(scopes, ("run_id", "owner", "body"), ("run_id", "owner"))
SET_PROGRESS: Final = update(steps).values(progress=bindparam("report")).where(_where(steps, run_id="run", path="step"))
SET_STATUS: Final = (
    update(runs)
    .values(status=bindparam("to"), started_at=func.coalesce(runs.c.started_at, bindparam("began")))
    .where(_where(runs, id="run"))
)
REOPEN: Final = (
    update(runs)
    .values(started_at=null(), finished_at=null(), outputs=null(), error=null(), cancel_requested=text("0"))
    .where(_where(runs, id="run"))
)
END: Final = (
    update(runs)
    .values(status=bindparam("to"), finished_at=bindparam("at"), outputs=bindparam("out"), error=bindparam("why"))
    .where(_where(runs, id="run"))
)
SET_CANCEL: Final = update(runs).values(cancel_requested=text("1")).where(_where(runs, id="run"))
SET_SUSPECTS: Final = update(runs).values(suspects=bindparam("counts")).where(_where(runs, id="run"))
SET_LOCKS: Final = update(specs).values(locks=bindparam("tools")).where(_where(specs, run_id="run"))
HANDLED: Final = delete(inbox).where(_where(inbox, seq="number", run_id="run"))

# ---------------------------------------------------------------- reading

_RUN: Final = select(
    *(runs.c[name] for name in rows.RUN_COLUMNS), specs.c.locks, leases.c.owner, leases.c.expires_at
).join_from(runs, specs, specs.c.run_id == runs.c.id).join(leases, leases.c.run_id == runs.c.root_id)  # fmt: skip
RUN: Final = _RUN.where(_where(runs, id="run"))
SPEC: Final = select(specs.c.spec).where(_where(specs, run_id="run"))
_other: Final = runs.alias("other")
RUNS: Final = (
    _RUN.where(
        or_(bindparam("statuses").is_(None), runs.c.status.in_(_listed("statuses"))),
        or_(bindparam("workflow").is_(None), runs.c.workflow_id == bindparam("workflow")),
        or_(bindparam("children", type_=Boolean()), runs.c.root_id == runs.c.id),
        or_(
            bindparam("before").is_(None),
            runs.c.number < select(_other.c.number).where(_other.c.id == bindparam("before")).scalar_subquery(),
        ),
    )
    .order_by(runs.c.number.desc())
    .limit(bindparam("most", type_=Integer()))
    .offset(_ZERO)
)
_STEP: Final = select(*(steps.c[name] for name in rows.STEP_COLUMNS))
_ENDED_ITEM: Final = and_(steps.c.item_index.is_not(None), steps.c.status.in_(_STEP_ENDED))
STEPS: Final = _STEP.where(_where(steps, run_id="run")).order_by(steps.c.ordinal)
STEPS_WITHOUT_ITEMS: Final = STEPS.where(steps.c.item_index.is_(None))
_DONE: Final = [literal_column(f"'{s.value}'", Text()) for s in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)]
STEPS_TO_GO_ON: Final = STEPS.where(not_(and_(steps.c.item_index.is_not(None), steps.c.status.in_(_DONE))))
ENDED_ITEMS: Final = select(steps.c.owner_path, steps.c.item_index, steps.c.status).where(
    _where(steps, run_id="run"), _ENDED_ITEM
)
STEP: Final = _STEP.where(_where(steps, run_id="run", path="step"))
ITEM_RESULTS: Final = (
    select(steps.c.item_index, steps.c.status, steps.c.result)
    .where(_where(steps, run_id="run", owner_path="step"), steps.c.item_index > bindparam("after"))
    .where(steps.c.item_index.is_not(None))
    .order_by(steps.c.item_index)
    .limit(bindparam("most", type_=Integer()))
    .offset(_ZERO)
)
_ATTEMPT: Final = select(*(attempts.c[name] for name in rows.ATTEMPT_COLUMNS)).order_by(attempts.c.ordinal)
ATTEMPTS: Final = _ATTEMPT.where(_where(attempts, run_id="run"))
STEP_ATTEMPTS: Final = ATTEMPTS.where(_where(attempts, path="step"))
OPEN_ATTEMPTS: Final = ATTEMPTS.where(attempts.c.outcome.is_(None))
SCOPES: Final = select(scopes.c.body).where(_where(scopes, run_id="run")).order_by(scopes.c.ordinal)
EVENTS: Final = (
    select(*(events.c[name] for name in rows.EVENT_COLUMNS))
    .where(_where(events, run_id="run"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most", type_=Integer()))
    .offset(_ZERO)
)

# ---------------------------------------------------------------- inbox

POST: Final = _insert(inbox, ("run_id", "kind", "body", "at")).returning(inbox.c.seq)
_ENTRY: Final = select(*(inbox.c[name] for name in rows.INBOX_COLUMNS)).order_by(inbox.c.seq)
INBOX: Final = _ENTRY.where(inbox.c.run_id.in_(_listed("ids")), inbox.c.seq > bindparam("after"))
REQUESTS: Final = (
    select(*(inbox.c[name] for name in rows.INBOX_COLUMNS), leases.c.owner, leases.c.expires_at)
    .join_from(inbox, runs, runs.c.id == inbox.c.run_id)
    .join(leases, leases.c.run_id == runs.c.root_id)
    .where(inbox.c.kind == literal_column(f"'{ResumeCommand.kind}'", Text()))
    .order_by(inbox.c.seq)
)

# ---------------------------------------------------------------- leases

_LEASE: Final = select(leases.c.run_id, leases.c.owner, leases.c.epoch, leases.c.expires_at).join_from(
    leases, runs, runs.c.id == leases.c.run_id
)
ORPHANS: Final = _LEASE.where(
    runs.c.status.in_(_UNDER_WAY), runs.c.root_id == runs.c.id, not_(runs.c.parked), _where(runs, fingerprint="print")
).order_by(runs.c.number)
LEASES_OF: Final = _LEASE.where(leases.c.run_id.in_(_listed("ids"))).order_by(runs.c.number)
TAKE: Final = (
    update(leases)
    .values(owner=bindparam("who"), epoch=bindparam("to"), taken_at=bindparam("at"), expires_at=bindparam("until"))
    .where(_where(leases, run_id="run"))
)
SET_PARKED: Final = update(runs).values(parked=bindparam("rest", type_=Boolean())).where(_where(runs, id="run"))
RENEW: Final = update(leases).values(expires_at=bindparam("until")).where(_where(leases, owner="who"))
RELEASE: Final = (
    update(leases).values(owner=null(), taken_at=null(), expires_at=null()).where(_where(leases, run_id="run", owner="who"))
)
GIVE_UP: Final = update(leases).values(owner=null(), taken_at=null(), expires_at=null()).where(_where(leases, run_id="run"))
HELD: Final = select(leases.c.owner, leases.c.expires_at, leases.c.taken_at).where(leases.c.owner.is_not(None))

# ---------------------------------------------------------------- retention

_tree: Final = select(runs.c.id).where(_where(runs, id="run")).cte("tree", recursive=True)
_whole_tree: Final = _tree.union(select(runs.c.id).join_from(runs, _tree, runs.c.parent_id == _tree.c.id))
LEASE_OF_ROOT: Final = (
    select(leases.c.owner, leases.c.expires_at)
    .join_from(runs, leases, leases.c.run_id == runs.c.root_id)
    .where(_where(runs, id="run"))
)
DELETE: Final = delete(runs).where(runs.c.id.in_(select(_whole_tree.c.id)))
_ranked: Final = (
    select(
        runs.c.id,
        runs.c.number,
        runs.c.finished_at,
        func.row_number().over(partition_by=runs.c.workflow_id, order_by=runs.c.number.desc()).label("rank"),
    )
    .where(runs.c.status.in_(_RUN_ENDED), runs.c.root_id == runs.c.id)
    .subquery()
)
PRUNABLE: Final = (
    select(_ranked.c.id, leases.c.owner, leases.c.expires_at)
    .join_from(_ranked, leases, leases.c.run_id == _ranked.c.id)
    .where(or_(bindparam("before").is_(None), _ranked.c.finished_at < bindparam("before")))
    .where(_ranked.c.rank > bindparam("keep", type_=Integer()))
    .order_by(_ranked.c.number)
)
BLOBS: Final = select(blobs.c.digest).distinct()
