"""The tables of the journal.

Owns the present schema as SQLAlchemy metadata and its version. A change here needs a migration in `migrations/versions`; a
test compares both. Times are microseconds since 1970 in UTC, documents are compact JSON.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION: Final = "0001"
"""Revision of the newest migration; what `alembic_version` holds in a journal that is current."""

metadata: Final = MetaData()


def _run_id() -> Column[str]:
    return Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False)


def _time(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


runs: Final = Table(
    "runs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("workflow_id", Text, nullable=False),
    Column("root_id", Text, nullable=False, index=True),
    Column("parent_id", Text, index=True),
    Column("parent_path", Text),
    Column("status", Text, nullable=False),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("finished_at"),
    Column("parked", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("executor", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("retry_of", Text),
    Column("suspects", Text),
    Column("outputs", Text),
    Column("error", Text),
    Index("ix_runs_workflow", "workflow_id", "number"),
    Index("ix_runs_status", "status", "number"),
)
"""`number` is the order of creation. Wide documents stand in `specs`: an UPDATE of SQLite writes the whole row anew."""

specs: Final = Table(
    "specs",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("locks", Text),
)

leases: Final = Table(
    "leases",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    _time("taken_at"),
    _time("expires_at"),
    Index("ix_leases_owner", "owner", sqlite_where=text("owner IS NOT NULL")),
)
"""One row for each root run, for ever; `owner` is null while nobody holds it."""

steps: Final = Table(
    "steps",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    _run_id(),
    Column("path", Text, nullable=False),
    Column("owner_path", Text),
    Column("item_index", Integer),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    _time("started_at"),
    _time("finished_at"),
    _time("wake_at"),
    Column("more", Text),
    Column("error", Text),
    Column("progress", Text),
    Column("result", Text),
    UniqueConstraint("run_id", "path"),
    Index("ix_steps_items", "run_id", "owner_path", "item_index", sqlite_where=text("item_index IS NOT NULL")),
)
"""`ordinal` is the order of first recording. `more` holds the fields that seldom differ from their default. Results stand
last, so that a look at the status of many rows does not read their overflow pages."""

attempts: Final = Table(
    "attempts",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    _run_id(),
    Column("path", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("id", Text, nullable=False),
    _time("started_at", nullable=False),
    _time("finished_at"),
    Column("outcome", Text),
    Column("node", Text, nullable=False),
    Column("error", Text),
    UniqueConstraint("run_id", "path", "number"),
    Index("ix_attempts_open", "run_id", sqlite_where=text("outcome IS NULL")),
)

events: Final = Table(
    "events",
    metadata,
    _run_id(),
    Column("seq", Integer, nullable=False),
    Column("name", Text, nullable=False),
    _time("at", nullable=False),
    Column("path", Text),
    Column("data", Text),
    PrimaryKeyConstraint("run_id", "seq"),
    sqlite_with_rowid=False,
)
"""The highest `seq` of a run is found by the primary key, so no counter has to be written with each commit."""

scopes: Final = Table(
    "scopes",
    metadata,
    Column("ordinal", Integer, primary_key=True),
    _run_id(),
    Column("owner", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("run_id", "owner"),
)

inbox: Final = Table(
    "inbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    _run_id(),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    _time("at", nullable=False),
    Index("ix_inbox_run", "run_id", "seq"),
    sqlite_autoincrement=True,
)
"""Commands not yet handled; a handled one is deleted. AUTOINCREMENT: a number is never given out twice."""

blobs: Final = Table(
    "blobs",
    metadata,
    _run_id(),
    Column("digest", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "digest"),
    sqlite_with_rowid=False,
)
"""Which blobs a run names, anywhere in its rows."""
