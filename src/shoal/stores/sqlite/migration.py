"""Making a journal's tables, and bringing older ones up to date.

Owns the decision what to do with the file that is there. A new journal is made from the present metadata and stamped, which
spares a command's first run the import of Alembic (0.3 s); a test holds that result against that of the migrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, bindparam, insert, select
from sqlalchemy.schema import CreateIndex, CreateTable

from shoal.errors import StoreUnavailableError
from shoal.stores.sqlite.connection import Connection, cause_of
from shoal.stores.sqlite.schema import VERSION, metadata

_stamp: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_REVISION: Final = select(_stamp.c.version_num)
_STAMP: Final = insert(_stamp).values(version_num=bindparam("revision"))


def bring_up_to_date(connection: Connection, path: Path, *, in_use: bool) -> None:
    """Make the schema of a journal the present one; two cheap queries if it is.

    Args:
        connection: To the journal.
        path: Of the journal.
        in_use: Whether another process drives runs of it, which forbids a migration under its feet.

    Raises:
        StoreUnavailableError: It is of a newer version, is no journal, or cannot be migrated now.
    """
    if _is_empty(connection):
        connection.use_write_ahead_log()
        with connection.write():
            if _is_empty(connection):  # not made by another process meanwhile
                _create(connection)
    found = _revision(connection, path)
    if found == VERSION:
        connection.use_write_ahead_log()  # a backup may have come back without it
        return
    if found > VERSION:
        raise StoreUnavailableError(
            f"the journal {path} was written by a newer Shoal (its schema is {found}, this version knows {VERSION})",
            hint="upgrade Shoal, or name another journal in SHOAL_STORE",
        )
    if in_use:
        raise StoreUnavailableError(
            f"the journal {path} is to be migrated from schema {found or 'none'} to {VERSION}, but a process drives its runs",
            hint="stop the daemon and all commands (`shoal down`), then try again",
        )
    migrate(path)
    connection.use_write_ahead_log()


def migrate(path: Path) -> None:
    """Run the migrations, all in one transaction: the journal is old or new, never in between."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import event
    from sqlalchemy.pool import NullPool

    # The driver's own transactions end before DDL; with them off, ours spans all of it. Foreign keys stay off (SQLite's
    # default), for a table that is made anew must not cascade.
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"isolation_level": None})
    event.listen(engine, "begin", _begin)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, VERSION)
    except Exception as error:
        raise StoreUnavailableError(
            f"the journal {path} could not be migrated to schema {VERSION}; nothing in it changed: {error}",
            hint="keep a copy of it and report this",
        ) from error
    finally:
        engine.dispose()


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_empty(connection: Connection) -> bool:
    return connection.pragma("schema_version") == 0


def _create(connection: Connection) -> None:
    for made in metadata.sorted_tables:
        connection.run(CreateTable(made))
        for index in sorted(made.indexes, key=lambda i: str(i.name)):
            connection.run(CreateIndex(index))
    connection.run(CreateTable(_stamp))
    connection.run(_STAMP, revision=VERSION)


def _revision(connection: Connection, path: Path) -> str:
    try:
        row = connection.one(_REVISION)
    except StoreUnavailableError as error:
        if "no such table" not in cause_of(error):
            raise
        raise StoreUnavailableError(
            f"{path} is a SQLite database, but no journal of Shoal", hint="name another file in SHOAL_STORE"
        ) from error
    return str(row[0]) if row else ""
