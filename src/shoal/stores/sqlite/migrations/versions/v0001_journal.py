"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _runs()
    _steps()
    _logs()


def downgrade() -> None:
    """Refuse: a journal goes forward only; go back by putting back a copy."""
    raise NotImplementedError


def _run_id(*, primary_key: bool = False) -> sa.Column[str]:
    key = sa.ForeignKey("runs.id", ondelete="CASCADE")
    return sa.Column("run_id", sa.Text, key, nullable=False, primary_key=primary_key)


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("root_id", sa.Text, nullable=False, index=True),
        sa.Column("parent_id", sa.Text, index=True),
        sa.Column("parent_path", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("parked", sa.Boolean, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("executor", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("retry_of", sa.Text),
        sa.Column("suspects", sa.Text),
        sa.Column("outputs", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_runs_workflow", "runs", ["workflow_id", "number"])
    op.create_index("ix_runs_status", "runs", ["status", "number"])
    op.create_table("specs", _run_id(primary_key=True), sa.Column("spec", sa.Text, nullable=False), sa.Column("locks", sa.Text))
    op.create_table(
        "leases",
        _run_id(primary_key=True),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("taken_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_index("ix_leases_owner", "leases", ["owner"], sqlite_where=sa.text("owner IS NOT NULL"))


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("ordinal", sa.Integer, primary_key=True),
        _run_id(),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("owner_path", sa.Text),
        sa.Column("item_index", sa.Integer),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("wake_at", sa.BigInteger),
        sa.Column("more", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("progress", sa.Text),
        sa.Column("result", sa.Text),
        sa.UniqueConstraint("run_id", "path"),
    )
    is_item = sa.text("item_index IS NOT NULL")
    op.create_index("ix_steps_items", "steps", ["run_id", "owner_path", "item_index"], sqlite_where=is_item)
    op.create_table(
        "attempts",
        sa.Column("ordinal", sa.Integer, primary_key=True),
        _run_id(),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("run_id", "path", "number"),
    )
    op.create_index("ix_attempts_open", "attempts", ["run_id"], sqlite_where=sa.text("outcome IS NULL"))
    op.create_table(
        "scopes",
        sa.Column("ordinal", sa.Integer, primary_key=True),
        _run_id(),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("run_id", "owner"),
    )


def _logs() -> None:
    op.create_table(
        "events",
        _run_id(),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("data", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox",
        sa.Column("seq", sa.Integer, primary_key=True),
        _run_id(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_run", "inbox", ["run_id", "seq"])
    op.create_table(
        "blobs",
        _run_id(),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "digest"),
        sqlite_with_rowid=False,
    )
