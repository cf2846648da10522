"""One connection to the journal's file: settings, transactions, compiled statements, and errors in our words.

Owns the driver: nothing else touches `sqlite3`. Statements are SQLAlchemy Core expressions, compiled once for the process
and run on the driver's cursor with positional parameters, which costs a tenth of executing them through an engine.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import ClauseElement

from shoal.errors import StoreUnavailableError
from shoal.stores.sqlite.place import is_full, refuse_unusable

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process's transaction; those of Shoal take milliseconds."""

_WAL_KEPT: Final = 16 * 1024 * 1024
"""Bytes to which the write-ahead log shrinks again after a burst."""

_DIALECT: Final = SQLiteDialect_pysqlite(paramstyle="qmark")
_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process has kept it locked for 5 s; find it with `fuser`, or try again",
    sqlite3.SQLITE_LOCKED: "another connection has kept it locked; try again",
    sqlite3.SQLITE_READONLY: "it is read-only; give this user the right to write the file and its folder",
    sqlite3.SQLITE_IOERR: "reading or writing it failed; check the disk and the system's log",
    sqlite3.SQLITE_CORRUPT: "it is damaged; keep a copy, then put back a backup or try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_FULL: "make room, then try again; what is recorded is safe, and a run that was under way can be resumed",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; name another file in SHOAL_STORE, or move this one away",
}

_MAY_MEAN_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_MEANS_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""SQLite says `disk I/O error` where it is the memory-mapped index of the log that has no room."""


@functools.cache
def compiled(statement: ClauseElement) -> tuple[str, tuple[str, ...]]:
    """Return the SQL of a statement and the names of its parameters in their order."""
    result = statement.compile(dialect=_DIALECT)
    return str(result), tuple(getattr(result, "positiontup", None) or ())


def unavailable(path: Path, error: Exception) -> StoreUnavailableError:
    """Return the error that says in our words what the driver reported."""
    code = getattr(error, "sqlite_errorcode", None)
    advice = _ADVICE.get(code & 0xFF) if isinstance(code, int) else None
    if isinstance(code, int) and code & 0xFF in _MAY_MEAN_FULL and (code in _MEANS_FULL or is_full(path)):
        full = f"the journal {path} cannot be used: the disk is full ({error})"
        return StoreUnavailableError(full, hint=_ADVICE[sqlite3.SQLITE_FULL])
    return StoreUnavailableError(f"the journal {path} cannot be used: {error}", hint=advice or "run `shoal doctor`")


def cause_of(error: StoreUnavailableError) -> str:
    """Return what the driver said."""
    return str(error.__cause__)


class Connection:
    """A connection for one thread at a time.

    Writes are transactions that take the write lock at their start (`BEGIN IMMEDIATE`), so that none fails half-way because
    another process wrote in between.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which is made if it is not there; one that is not ours is not changed by that.

        Raises:
            StoreUnavailableError: It cannot be opened, may not be written, or is not a database.
        """
        self._path = path
        refuse_unusable(path)
        try:
            self._driver = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        except sqlite3.Error as error:
            raise unavailable(path, error) from error
        try:
            for setting in ("foreign_keys=ON", "synchronous=FULL", f"journal_size_limit={_WAL_KEPT}"):
                self._driver.execute(f"PRAGMA {setting}")
        except sqlite3.Error as error:
            self._driver.close()
            raise unavailable(path, error) from error

    def use_write_ahead_log(self) -> None:
        """Switch the file to a write-ahead log, if it is not; it stays so for all connections.

        Raises:
            StoreUnavailableError: It cannot be: the file system has no memory that processes share, or no right to write.
        """
        until = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                mode = self._driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.Error as error:
                # For this, SQLite does not wait for its locks by itself when several processes make one journal.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise unavailable(self._path, error) from error
                time.sleep(0.01)
        if mode != "wal":
            raise StoreUnavailableError(
                f"the journal {self._path} cannot be used: its file system has no shared memory for a write-ahead log",
                hint="set SHOAL_HOME to a folder on a local disk",
            )

    @contextmanager
    def write(self) -> Generator[None]:
        """Run the body as one transaction; nothing of it is recorded if it raises."""
        try:
            self._driver.execute("BEGIN IMMEDIATE")
            yield
            self._driver.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise unavailable(self._path, error) from error
        except BaseException:
            self._undo()
            raise

    @contextmanager
    def read(self) -> Generator[None]:
        """Run the body on one consistent state of the store."""
        try:
            self._driver.execute("BEGIN")
            yield
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
        finally:
            self._undo()

    def _undo(self) -> None:
        if self._driver.in_transaction:
            try:
                self._driver.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise unavailable(self._path, error) from error

    def run(self, statement: ClauseElement, **values: object) -> int:
        """Execute a statement; return the number of rows it changed."""
        sql, names = compiled(statement)
        try:
            return self._driver.execute(sql, [values[name] for name in names]).rowcount
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error

    def many(self, statement: ClauseElement, rows: Iterable[Sequence[object]]) -> None:
        """Execute a statement for each row of positional values; inside `write` only, which words its errors."""
        self._driver.executemany(compiled(statement)[0], rows)

    def all(self, statement: ClauseElement, **values: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        sql, names = compiled(statement)
        try:
            return self._driver.execute(sql, [values[name] for name in names]).fetchall()
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error

    def one(self, statement: ClauseElement, **values: object) -> tuple[Any, ...] | None:
        """Return the first row of a query, if there is one."""
        rows = self.all(statement, **values)
        return rows[0] if rows else None

    def pragma(self, name: str) -> Any:
        """Return the value of a pragma of the connection."""
        try:
            return self._driver.execute(f"PRAGMA {name}").fetchone()[0]
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error

    def close(self) -> None:
        """Close it. Idempotent."""
        self._driver.close()
