"""How the tables came to be what they are: every step from one version to the next, for good.

A step never changes once it was released. It says in SQL of its own what it makes, as ``tables`` knows the newest form
only. All steps that a database lacks run in one transaction, under a lock that other processes wait for.
"""

from __future__ import annotations

import sqlalchemy as sql

from redstate.errors import ArchiveError

# Locks of PostgreSQL have no names but two numbers; the first sets ours apart.
LOCK_FAMILY = 1_919_251_556
_MIGRATION_LOCK = 0

_schema = sql.Table("redstate_schema", sql.MetaData(), sql.Column("version", sql.Integer, nullable=False))


def migrate(connection: sql.Connection, path: str) -> None:
    """Bring the database to the newest version; where it is there already, only look.

    Args:
        connection: in a transaction in which nothing has happened.
        path: of the archive, for the error.

    Raises:
        ArchiveError: the database is of a version that this redstate does not know.
    """
    if _version(connection, path) == len(_STEPS):
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_FAMILY}, {_MIGRATION_LOCK})")
        # The wait for the lock was limited; copying a large table takes as long as it takes.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    # Somebody else may have done it while we waited.
    for step in _STEPS[_version(connection, path) :]:
        step(connection)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS redstate_schema (version INTEGER NOT NULL)")
    connection.execute(sql.delete(_schema))
    connection.execute(sql.insert(_schema).values(version=len(_STEPS)))


def _version(connection: sql.Connection, path: str) -> int:
    if not sql.inspect(connection).has_table(_schema.name):
        return 0
    version = connection.execute(sql.select(sql.func.max(_schema.c.version))).scalar() or 0
    if version > len(_STEPS):
        raise ArchiveError(
            f"The archive has version {version}, of which this redstate knows nothing: {path}",
            next_step="Upgrade redstate: pip install --upgrade redstate",
            path=path,
            reason="newer",
        )
    return int(version)


def _one_row_a_conversation(connection: sql.Connection) -> None:
    # Files of the first releases have this table, and no version.
    moment = "DATETIME" if connection.dialect.name == "sqlite" else "TIMESTAMPTZ"
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS conversation_state (conversation_id TEXT NOT NULL PRIMARY KEY, customer_id TEXT, "
        f"state TEXT NOT NULL, created_at {moment} NOT NULL, updated_at {moment} NOT NULL)"
    )


def _one_row_a_life(connection: sql.Connection) -> None:
    lite = connection.dialect.name == "sqlite"
    text, moment, binary = ("TEXT", "INTEGER", "BLOB") if lite else ('TEXT COLLATE "C"', "TIMESTAMPTZ", "BYTEA")
    for statement in (
        "DROP INDEX IF EXISTS conversation_state_by_customer",
        "ALTER TABLE conversation_state RENAME TO conversation_state_1",
        f"CREATE TABLE conversation_state (conversation_id {text} NOT NULL, customer_id {text}, state TEXT NOT NULL, "
        f"created_at {moment} NOT NULL, updated_at {moment} NOT NULL, version BIGINT NOT NULL, ended_at {moment}, "
        "reason TEXT NOT NULL, cart TEXT, workflow TEXT, session TEXT, schema_version INTEGER, "
        f"record {binary}, CONSTRAINT conversation_state_lives PRIMARY KEY (conversation_id, created_at))",
        _COPY_SQLITE if lite else _COPY_POSTGRES,
        "DROP TABLE conversation_state_1",
        "CREATE INDEX conversation_state_by_customer"
        " ON conversation_state (customer_id, coalesce(ended_at, updated_at))",
        "CREATE INDEX conversation_state_by_time ON conversation_state (coalesce(ended_at, updated_at))",
    ):
        connection.exec_driver_sql(statement)


def _microseconds(column: str) -> str:
    # Moments were text: 2026-01-02 03:04:05.000678
    return f"CAST(strftime('%s', {column}) AS INTEGER) * 1000000 + CAST(substr({column} || '000000', 21, 6) AS INTEGER)"


_COPY = (
    "INSERT INTO conversation_state (conversation_id, customer_id, state, created_at, updated_at, version, reason)"
    " SELECT {}, {}, state, {}, {}, 0, 'saved' FROM conversation_state_1"
)
_COPY_SQLITE = _COPY.format("conversation_id", "customer_id", _microseconds("created_at"), _microseconds("updated_at"))
# (The driver reads a doubled % as one.)
_COPY_POSTGRES = _COPY.format(
    "replace(conversation_id, '%%', '%%25')", "replace(customer_id, '%%', '%%25')", "created_at", "updated_at"
)

_STEPS = (_one_row_a_conversation, _one_row_a_life)
