"""An archive in an SQLite file, through SQLAlchemy Core."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from types import TracebackType
from typing import Any, TypeVar

from redstate import _keys
from redstate._codec import Codec, Limits
from redstate._codec.limits import DEEPEST
from redstate._settings import check_timeout
from redstate.archive.interface import ArchivedConversation
from redstate.calls.customer import checked_limit
from redstate.errors import ArchiveError, ConfigurationError, CorruptState, InvalidField, MissingExtra, StoreClosed
from redstate.transport.base import forget_at_fork

if find_spec("sqlalchemy") is None:
    raise MissingExtra(
        "The SQL archive needs SQLAlchemy, which is not installed",
        next_step='Install it with: pip install "redstate[archive]"',
        extra="archive",
    )

import sqlalchemy as sql
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

T = TypeVar("T")

# A whole conversation is one value here, so the caps of a conversation's single values do not fit.
_LIMITS = Limits(max_value_bytes=256 * 1024 * 1024, max_depth=DEEPEST, max_items=100_000_000)


class _Utc(sql.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no time zone."""

    impl = sql.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sql.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: sql.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


_metadata = sql.MetaData()
_table = sql.Table(
    "conversation_state",
    _metadata,
    sql.Column("conversation_id", sql.Text, primary_key=True),
    sql.Column("customer_id", sql.Text),
    sql.Column("state", sql.Text, nullable=False),
    sql.Column("created_at", _Utc, nullable=False),
    sql.Column("updated_at", _Utc, nullable=False),
)
_by_customer = sql.Index("conversation_state_by_customer", _table.c.customer_id, _table.c.updated_at)

_REASONS = {
    "SQLITE_BUSY": ("locked", "Another process holds the archive's lock"),
    "SQLITE_LOCKED": ("locked", "Another connection holds the archive's lock"),
    "SQLITE_CANTOPEN": ("unopenable", "The archive's file cannot be opened"),
    "SQLITE_READONLY": ("read-only", "The archive's file cannot be written"),
    "SQLITE_PERM": ("read-only", "The archive's file cannot be written"),
    "SQLITE_FULL": ("full", "The archive's disk is full"),
    "SQLITE_NOTADB": ("damaged", "The archive's file is no SQLite database"),
    "SQLITE_CORRUPT": ("damaged", "The archive's file is damaged"),
}


class SqlArchive:
    """States of conversations in an SQLite file, which threads and processes may share; a :class:`StateArchive`.

    SQLite is the only database that it takes, whatever else SQLAlchemy knows.

    A state is JSON text in the table ``conversation_state``, and its values come back with the types they had. The file
    is in WAL mode with ``synchronous=NORMAL``: what was saved survives a crash of the process, while the last saves
    before a power cut can be lost, and the file is never damaged by either. It must lie on a local disk.

    The methods block: from asyncio, call them by ``asyncio.to_thread``.

    Args:
        url_or_path: a path, or a URL such as ``sqlite:////var/lib/shop/conversations.db``; the file is created.
        timeout: seconds to wait for another writer.

    Raises:
        MissingExtra: SQLAlchemy is not installed (when it is imported).
        ConfigurationError: it names no SQLite file, or the timeout cannot be used.
        ArchiveError: the file cannot be opened, is no database or stays locked.
    """

    def __init__(self, url_or_path: str | os.PathLike[str], *, timeout: float = 5.0) -> None:
        url = _checked_url(url_or_path)
        self._path = str(url.database)
        self._codec = Codec(_LIMITS)
        self._closed = False
        self._engine = sql.create_engine(
            url,
            connect_args={"timeout": check_timeout(timeout)},
            max_overflow=-1,  # as many connections as threads that are at it: nobody waits for a turn
            hide_parameters=True,
        )
        sql.event.listen(self._engine, "connect", _prepare)
        self._pool = _Pool(self._engine)
        forget_at_fork(self._pool)
        self._run(_create_table)

    def save(self, conversation_id: str, state: Mapping[str, Any], customer_id: str | None = None) -> None:
        """Keep a state, in place of the one that there may be, whose ``created_at`` stays.

        Args:
            conversation_id: any text of 1 to 512 UTF-8 bytes.
            state: its fields.
            customer_id: whose it is, likewise; None leaves what was said before.

        Raises:
            InvalidField: the state is no mapping.
            UnsupportedValue, TooLarge: a value cannot be stored; the error names the path to it.
        """
        _keys.check_id(conversation_id, "conversation id")
        if not isinstance(state, Mapping):
            raise InvalidField(f"The state must be a mapping, not {type(state).__name__}", next_step="Pass a dict")
        if customer_id is not None:
            _keys.check_id(customer_id, "customer id")
        encoded = self._codec.encode(dict(state.items()), "state")
        now = datetime.now(UTC)
        insert = sqlite.insert(_table).values(
            conversation_id=conversation_id,
            customer_id=customer_id,
            state=encoded.decode("utf-8"),
            created_at=now,
            updated_at=now,
        )
        new = insert.excluded
        upsert = insert.on_conflict_do_update(
            index_elements=[_table.c.conversation_id],
            set_={
                "customer_id": sql.func.coalesce(new.customer_id, _table.c.customer_id),
                "state": new.state,
                "updated_at": new.updated_at,
            },
        )
        self._run(lambda connection: connection.execute(upsert))

    def load(self, conversation_id: str) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none.

        Raises:
            CorruptState: what lies there was not written by an archive.
            UnknownType: a value's class is not known in this process.
        """
        _keys.check_id(conversation_id, "conversation id")
        # As bytes: SQLite does not hold text to be UTF-8, and the codec judges that too.
        column = sql.cast(_table.c.state, sql.LargeBinary)
        query = sql.select(column).where(_table.c.conversation_id == conversation_id)
        row = self._run(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        return self._decoded(conversation_id, row[0])

    def delete(self, conversation_id: str) -> bool:
        """Forget a conversation. Returns whether it was there."""
        _keys.check_id(conversation_id, "conversation id")
        query = sql.delete(_table).where(_table.c.conversation_id == conversation_id)
        return self._run(lambda connection: connection.execute(query).rowcount == 1)

    def conversations_of(self, customer_id: str, limit: int = 20) -> list[ArchivedConversation]:
        """A customer's conversations, the one that was saved last first; at most ``limit``."""
        _keys.check_id(customer_id, "customer id")
        columns = _table.c.conversation_id, _table.c.customer_id, _table.c.created_at, _table.c.updated_at
        query = (
            sql.select(*columns)
            .where(_table.c.customer_id == customer_id)
            .order_by(_table.c.updated_at.desc(), _table.c.conversation_id)
            .limit(checked_limit(limit))
        )
        rows = self._run(lambda connection: connection.execute(query).all())
        return [ArchivedConversation(*row) for row in rows]

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._closed = True
        self._engine.dispose()

    def __enter__(self) -> SqlArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decoded(self, conversation_id: str, encoded: bytes | None) -> dict[str, Any]:
        state = None
        if encoded is not None:
            with contextlib.suppress(CorruptState):  # its advice is for a key of Redis
                state = self._codec.decode(encoded, key=conversation_id, field="state")
        if type(state) is not dict:
            raise CorruptState(
                f"The archive's row of conversation {conversation_id!r} holds no state that redstate wrote",
                next_step="Inspect the row; save or delete the conversation to go on",
                key=conversation_id,
                field="state",
            )
        return state

    def _run(self, work: Callable[[sql.Connection], T]) -> T:
        """Do work in a transaction of its own."""
        if self._closed:
            raise StoreClosed("The archive is closed", next_step="Open a new archive")
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            failure = _failure(error.orig, self._path)
        # Raised out here, so that no context carries the statement's values into a report.
        raise failure


class _Pool:
    """The connections of an archive, where a process forks."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine
        self._parents: list[sql.Pool] = []

    def forget(self) -> None:
        """In the child: leave the parent's connections alone. Using or even closing them would harm its locks."""
        self._parents.append(self._engine.pool)
        self._engine.dispose(close=False)


def _checked_url(url_or_path: str | os.PathLike[str]) -> sql.URL:
    url = None
    text = os.fspath(url_or_path) if isinstance(url_or_path, (str, os.PathLike)) else None
    with contextlib.suppress(ArgumentError):
        if isinstance(text, str):
            url = sql.make_url(text) if "://" in text else sql.URL.create("sqlite", database=text)
    if url is None or url.drivername not in {"sqlite", "sqlite+pysqlite"} or url.database in {None, "", ":memory:"}:
        raise ConfigurationError(
            "The archive takes an SQLite file", next_step='Pass a path, or a URL such as "sqlite:///conversations.db"'
        )
    return url


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    # The mode stays with the file. Setting it needs the file for oneself, so it is done once and not by everybody.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _create_table(connection: sql.Connection) -> None:
    # Asked of the database and not of us: processes that open a new file at once must not trip over each other.
    connection.execute(CreateTable(_table, if_not_exists=True))
    connection.execute(CreateIndex(_by_customer, if_not_exists=True))


def _failure(error: BaseException | None, path: str) -> ArchiveError:
    # The name of the code can have a suffix that tells which kind it is of: SQLITE_READONLY_DIRECTORY.
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    reason, message = _REASONS.get(name, ("other", f"The archive's database refused ({name or type(error).__name__})"))
    # SQLite's own words say the cause more closely, but may quote what was to be stored.
    return ArchiveError(f"{message} ({reason}): {path}", path=path, reason=reason)
