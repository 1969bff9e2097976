"""The connections of an archive: made when they are needed, one for every thread that is at it, none across a fork."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError

from redstate.archive.failures import failure
from redstate.archive.migrations import migrate
from redstate.archive.urls import shown
from redstate.errors import InvalidInput, RedstateError, StoreClosed
from redstate.transport.base import forget_at_fork

T = TypeVar("T")

# What a put of 500 rows touches stays in memory, and pages that are changed over and over are moved from the log to
# the file less often. Measured with ids in random order, three indexes, 600-byte states, batches of 500, two cores:
# 43,000 rows/s became 51,000 to 62,000; half of that time is SQLite's commit. The log grows to 40 MB.
#
# FULL has a commit be on the disk before it is over. The sweeper takes conversations out of Redis on the strength of
# it, so in NORMAL a power cut would lose what nothing else has any more. In batches of 200 rows of 600 bytes, on a disk
# that syncs in about a millisecond, medians of nine alternating rounds: 48,000 rows/s, NORMAL 63,000.
_SQLITE_SETTINGS = ("PRAGMA synchronous=FULL", "PRAGMA cache_size=-16000", "PRAGMA wal_autocheckpoint=10000")


class Connections:
    """Runs work in transactions; nothing is opened before the first.

    Args:
        url: of an SQLite file, or a PostgreSQL database; already checked.
        timeout: seconds to wait for a connection, for a lock and for a statement.
    """

    def __init__(self, url: sql.URL, timeout: float) -> None:
        self.path = shown(url)
        self._closed = self._migrated = False
        self._engine = _engine(url, timeout)
        self._parents: list[sql.Pool] = []
        forget_at_fork(self)

    @property
    def dialect(self) -> sql.Dialect:
        """Of the database."""
        return self._engine.dialect

    def run(self, work: Callable[[sql.Connection], T]) -> T:
        """Do work in a transaction of its own.

        Raises:
            ArchiveError: the database could not do it; nothing was written.
            InvalidInput: a text is no valid Unicode.
            StoreClosed: the archive is closed.
        """
        if not self._migrated:
            self._do(lambda connection: migrate(connection, self.path))
            self._migrated = True  # threads that come at once all look: the database sees to it that one changes it
        return self._do(work)

    def close(self) -> None:
        """Close them all; nothing runs any more."""
        self._closed = True
        self._engine.dispose()

    def forget(self) -> None:
        """In a forked child: leave the parent's connections alone. Using or even closing them would harm its locks."""
        self._parents.append(self._engine.pool)
        self._engine.dispose(close=False)

    def _do(self, work: Callable[[sql.Connection], T]) -> T:
        if self._closed:
            raise StoreClosed("The archive is closed", next_step="Open a new archive")
        error: RedstateError
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as caught:
            error = failure(caught.orig, self.path)
        except UnicodeError:
            error = InvalidInput("A text for the archive is no valid Unicode")
        # Raised out here, so that no context carries the statement's values into a report.
        raise error


def _engine(url: sql.URL, timeout: float) -> sql.Engine:
    # As many connections as threads that are at it: nobody waits for a turn.
    common: dict[str, Any] = {"max_overflow": -1, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        engine = sql.create_engine(url, connect_args={"timeout": timeout}, **common)
        sql.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    given: dict[str, Any] = {"connect_timeout": math.ceil(timeout), "tcp_user_timeout": math.ceil(timeout * 1000)}
    settings = {name: value for name, value in given.items() if name not in url.query} | {"client_encoding": "utf8"}
    # A connection that died with its server is found out before it is used (one round trip), not by whoever has it.
    engine = sql.create_engine(url, connect_args=settings, pool_pre_ping=True, paramstyle="format", **common)
    sql.event.listen(engine, "connect", lambda connection, _: _prepare_postgres(connection, timeout))
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    _have_a_log(connection)
    for setting in _SQLITE_SETTINGS:
        connection.execute(setting)


def _have_a_log(connection: sqlite3.Connection) -> None:
    # The mode stays with the file. Setting it needs the file for oneself, so it is done once and not by everybody. Of
    # two that come at once, SQLite refuses one on the spot, as each would wait for the other: its timeout isn't used.
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return  # where a file can have no log, such as without locks, it goes without one
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        # For this it does wait, as long as its timeout says; then it is said to be locked.
        connection.execute("BEGIN EXCLUSIVE")
        connection.rollback()


def _prepare_postgres(connection: Any, timeout: float) -> None:
    # By SET and not as options of the connection, which poolers refuse.
    connection.execute(f"SET statement_timeout = {math.ceil(timeout * 1000)}")
    # Who stands still in a transaction must not come with it when others take what it writes for gone.
    connection.execute(f"SET idle_in_transaction_session_timeout = {math.ceil(timeout * 1000)}")
    connection.execute("SET timezone = 'UTC'")
    connection.commit()
