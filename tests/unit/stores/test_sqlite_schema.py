"""Schema and migrations: one schema, two ways to it, and no way back."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.errors import StoreUnavailableError
from shoal.model.ids import OwnerId
from shoal.stores.sqlite import connection, statements
from shoal.stores.sqlite.migration import migrate
from shoal.stores.sqlite.owners import OwnerLocks
from shoal.stores.sqlite.schema import VERSION
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import new_run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def execute(path, statement):
    db = sqlite3.connect(path)
    found = db.execute(statement).fetchall()
    db.commit()
    db.close()
    return found


def schema_of(path):
    rows = execute(path, "SELECT type, name, tbl_name, sql FROM sqlite_master")
    return sorted((kind, name, table, "".join((sql or "").split())) for kind, name, table, sql in rows)


def test_a_new_journal_has_the_schema_that_the_migrations_make(tmp_path):
    SqliteRunStore(tmp_path / "new.db").close()
    migrate(tmp_path / "migrated.db")
    assert schema_of(tmp_path / "new.db") == schema_of(tmp_path / "migrated.db")
    assert len(schema_of(tmp_path / "new.db")) > 15
    assert execute(tmp_path / "migrated.db", "SELECT * FROM alembic_version") == [(VERSION,)]


def test_the_newest_migration_is_the_present_version():
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(statements.__file__).with_name("migrations")))
    assert scripts.get_current_head() == VERSION


def test_a_journal_of_an_older_version_is_migrated_when_it_is_opened(path):
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    store = SqliteRunStore(path)
    asyncio.run(store.create(new_run()))
    store.close()
    assert execute(path, "SELECT * FROM alembic_version") == [(VERSION,)]


def test_a_migration_that_fails_changes_nothing(path):
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    execute(path, "CREATE TABLE steps (mine TEXT)")
    before = schema_of(path)
    with pytest.raises(StoreUnavailableError, match="nothing in it changed"):
        SqliteRunStore(path)
    assert schema_of(path) == before


def test_a_journal_is_not_migrated_under_the_feet_of_a_process_that_uses_it(path):
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    alive = OwnerLocks(path.parent / "owners")
    alive.register(OwnerId("daemon"))
    with pytest.raises(StoreUnavailableError, match=r"a process drives its runs.*shoal down"):
        SqliteRunStore(path)
    alive.close()
    SqliteRunStore(path).close()


def test_a_journal_of_a_newer_version_is_refused(path):
    SqliteRunStore(path).close()
    execute(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailableError, match=r"newer Shoal \(its schema is 9999.*upgrade Shoal"):
        SqliteRunStore(path)


@pytest.mark.parametrize("name", [n for n in dir(statements) if n.isupper() and not n.startswith("_") and "COLUMNS" not in n])
def test_every_statement_is_sql_that_the_schema_understands_and_has_only_named_parameters(path, name):
    SqliteRunStore(path).close()
    sql, names = connection.compiled(getattr(statements, name))
    assert not [n for n in names if n.endswith("_1") or n.startswith("param")]
    db = sqlite3.connect(path)
    db.execute(f"EXPLAIN {sql}", [None] * len(names))
    db.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("UPSERT_STEP", None),
        ("FENCES", "sqlite_autoindex_runs_1"),
        ("STEPS_TO_GO_ON", "sqlite_autoindex_steps_1"),
        ("STEP", "sqlite_autoindex_steps_1"),
        ("ITEM_RESULTS", "ix_steps_items"),
        ("OPEN_ATTEMPTS", "ix_attempts_open"),
        ("STEP_ATTEMPTS", "sqlite_autoindex_attempts_1"),
        ("EVENTS", "PRIMARY KEY"),
        ("INBOX", "ix_inbox_run"),
        ("RENEW", "ix_leases_owner"),
        ("SET_PROGRESS", "sqlite_autoindex_steps_1"),
    ],
)
def test_what_is_asked_often_looks_no_table_through(path, name, index):
    SqliteRunStore(path).close()
    sql, names = connection.compiled(getattr(statements, name))
    plan = [row[3] for row in execute_with(path, f"EXPLAIN QUERY PLAN {sql}", len(names))]
    tables = ("runs", "steps", "attempts", "events", "inbox", "leases")
    assert not [line for line in plan if line.startswith("SCAN") and line.split()[1] in tables]
    assert index is None or any(index in line for line in plan), plan


def execute_with(path, statement, count):
    db = sqlite3.connect(path)
    found = db.execute(statement, [None] * count).fetchall()
    db.close()
    return found


def test_opening_a_current_journal_does_not_import_alembic(path):
    SqliteRunStore(path).close()
    code = (
        "import sys, pathlib; from shoal.stores.opening import open_store;"
        f"open_store('sqlite:///{path}').close(); open_store('sqlite:///{path}2').close(); print('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
