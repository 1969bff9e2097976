"""An archive in an SQLite file or a PostgreSQL database, through SQLAlchemy Core."""

from __future__ import annotations

import builtins
import contextlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter
from types import TracebackType
from typing import Any

import sqlalchemy as sql

from redstate import _keys
from redstate._codec import Codec, Limits
from redstate._codec.limits import DEEPEST
from redstate._settings import check_timeout
from redstate.archive import queries
from redstate.archive.connections import Connections
from redstate.archive.interface import ArchivedConversation, ArchiveRow
from redstate.archive.migrations import LOCK_FAMILY
from redstate.archive.tables import LAST_SEEN, ROW, SUMMARY, conversations, microseconds
from redstate.archive.urls import checked_url
from redstate.calls.customer import checked_limit
from redstate.calls.lifetime import Purge
from redstate.calls.moments import moment
from redstate.errors import CorruptState, InvalidField

# A whole conversation is one value here, so the caps of a conversation's single values do not fit.
_LIMITS = Limits(max_value_bytes=256 * 1024 * 1024, max_depth=DEEPEST, max_items=100_000_000)

_KEY_ORDER = attrgetter("conversation_id", "created_us", "version")


class SqlArchive:
    """Ended conversations, and saved states, in SQLite or PostgreSQL; threads and processes may share it.

    Each *life* of a conversation is one row of the table ``conversation_state``: one that was taken up again goes on in
    its row, one that was begun anew under the same id gets a row of its own. What is JSON is text, and comes back to
    the byte. A :class:`StateArchive`.

    An SQLite file is in WAL mode with ``synchronous=FULL``: what was saved survives a crash of the process and a power
    cut, as far as the disk keeps what it has said to have. The file must lie on a local disk.

    Nothing is opened before the first use, or ``open()``; the tables are made then, or brought to the newest version.
    The methods block, and any thread may call them: from asyncio, use ``asyncio.to_thread``. They raise
    ``ArchiveError`` (with nothing written; see its ``reason``), ``InvalidInput`` and, once closed, ``StoreClosed``.

    Args:
        url_or_path: a path; or a URL such as ``sqlite:////var/lib/shop/conversations.db``, whose file is created; or
            ``postgresql://user:password@host/database``.
        timeout: seconds to wait for another writer; in PostgreSQL also for the connection and for each statement.

    Raises:
        MissingExtra: SQLAlchemy (when it is imported) or psycopg is not installed.
        ConfigurationError: it names no such database, or the timeout cannot be used.
    """

    def __init__(self, url_or_path: str | os.PathLike[str], *, timeout: float = 5.0) -> None:
        self._connections = Connections(checked_url(url_or_path), check_timeout(timeout))
        self._codec = Codec(_LIMITS)

    def __repr__(self) -> str:
        return f"SqlArchive({self._connections.path!r})"

    # Its life --------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and bring the tables to the newest version; otherwise the first use does that.

        Raises:
            ArchiveError: the database cannot be opened, or is of a newer redstate (``reason`` "newer").
        """
        self._connections.run(lambda connection: None)

    def close(self) -> None:
        """Let go of the database. Closing twice is harmless."""
        self._connections.close()

    def __enter__(self) -> SqlArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Rows ------------------------------------------------------------------------------------------------------------

    def put(self, rows: Sequence[ArchiveRow], confirm: Callable[[], None] = lambda: None) -> None:
        """Write rows, all or none. A row that is there already is replaced by a higher version of it only.

        So writing the same rows again changes nothing, whoever does it, and in whatever order versions come.

        Args:
            rows: any number; several versions of the same life are fine. Where ``customer_id`` is None, whose it was
                stays.
            confirm: called before the commit; if it raises, nothing is written.

        Raises:
            InvalidId: an id is empty, too long or no text.
            InvalidInput: a moment or the version is out of range.
        """
        for row in rows:
            queries.check_row(row)
        if not rows:
            return
        # In one order for everybody, so that two who write the same rows never wait for each other in a circle.
        ordered = sorted(rows, key=_KEY_ORDER)

        def work(connection: sql.Connection) -> None:
            self._put.run(connection, ordered)
            confirm()

        self._connections.run(work)

    def find(self, conversation_id: str) -> ArchiveRow | None:
        """The latest life of a conversation; None where there is none."""
        row = self._first(queries.FIND, conversation_id)
        return None if row is None else ArchiveRow(*tuple(row))

    def holds(self, conversation_id: str) -> bool:
        """Whether there is a life of a conversation; cheap."""
        return self._first(queries.HOLDS, conversation_id) is not None

    def lives(self, conversation_id: str) -> builtins.list[ArchiveRow]:
        """All lives of a conversation, the latest first."""
        values = {"id": _keys.check_id(conversation_id, "conversation id")}
        return [ArchiveRow(*row) for row in self._all(queries.LIVES, values)]

    def versions(self, conversation_ids: Sequence[str]) -> dict[tuple[str, int], int]:
        """The versions of all lives of some conversations, by id and ``created_us``; at most a few thousand ids."""
        ids = sorted({_keys.check_id(one, "conversation id") for one in conversation_ids})
        return {(one, created_us): version for one, created_us, version in self._all(queries.VERSIONS, {"ids": ids})}

    def list(
        self,
        *,
        customer_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> builtins.list[ArchivedConversation]:
        """What is in the archive, the conversation that ended last first; where one has not, its last change counts.

        Args:
            customer_id: whose; None for everybody's.
            since: from when on, aware; None for no limit.
            until: before when, aware; None for no limit.
            limit: how many at most.
        """
        order = LAST_SEEN.desc(), conversations.c.conversation_id, conversations.c.created_at.desc()
        conditions = queries.matching(None, customer_id, since, until)
        query = sql.select(*SUMMARY).where(*conditions).order_by(*order).limit(checked_limit(limit))
        return [_summary(*row) for row in self._all(query)]

    def rows(
        self,
        *,
        conversation_id: str | None = None,
        customer_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch: int = 500,
    ) -> Iterator[ArchiveRow]:
        """Every row that matches, in the order of ids and then of lives; the arguments are those of ``list``.

        What others write meanwhile may be among them or not; no row comes twice, and none that stays is left out.

        Args:
            batch: rows to read at once, in a short transaction each.
        """
        conditions = queries.matching(conversation_id, customer_id, since, until)
        return self._batches(conditions, checked_limit(batch))

    def count(
        self,
        *,
        conversation_id: str | None = None,
        customer_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """How many rows match; the arguments are those of ``list``."""
        conditions = queries.matching(conversation_id, customer_id, since, until)
        query = sql.select(sql.func.count()).select_from(conversations).where(*conditions)
        return self._connections.run(lambda connection: connection.execute(query).scalar_one())

    def delete(self, conversation_id: str) -> bool:
        """Forget a conversation, all its lives. Returns whether it was there."""
        return self._changed(queries.DELETE, id=_keys.check_id(conversation_id, "conversation id")) > 0

    def delete_of(self, customer_id: str) -> int:
        """Forget all of a customer's conversations. Returns how many rows that were."""
        return self._changed(queries.DELETE_OF, id=_keys.check_id(customer_id, "customer id"))

    def ids_of(self, customer_id: str) -> builtins.list[str]:
        """The ids of all of a customer's conversations."""
        return [one for (one,) in self._all(queries.IDS_OF, {"id": _keys.check_id(customer_id, "customer id")})]

    def delete_row(self, conversation_id: str, created_us: int, version: int) -> bool:
        """Forget one life, if it has that version still. Returns whether it had."""
        _keys.check_id(conversation_id, "conversation id")
        queries.check_numbers(created_us, version)
        return self._changed(queries.DELETE_ROW, id=conversation_id, created=created_us, version_=version) == 1

    def purge(self, conversation_id: str, what: Purge) -> int:
        """Forget what an erasure or a deletion has left of a conversation; a later life of it stays. Returns how many.

        Args:
            conversation_id: which.
            what: known of it in the store.
        """
        _keys.check_id(conversation_id, "conversation id")
        queries.check_numbers(what.version, what.at_us, what.created_us or 0)
        if what.deleted:
            return self._changed(queries.FORGET_CHANGED, id=conversation_id, until=what.version)
        values: dict[str, Any] = {"id": conversation_id, "until": what.at_us, "created": what.created_us or 0}
        if not what.customer_ids:
            return self._changed(queries.FORGET_BEGUN, **values)
        customers = [_keys.check_id(one, "customer id") for one in what.customer_ids]
        return self._changed(queries.FORGET_BEGUN_OF, **values, customers=customers)

    # States ----------------------------------------------------------------------------------------------------------

    def save(self, conversation_id: str, state: Mapping[str, Any], customer_id: str | None = None) -> None:
        """Keep a state in place of the latest life's, whose ``created_at`` stays; else begin one ("saved").

        Not for an archive that a sweeper writes to, where ``load_state``, ``archive.get`` and ``resume()`` give the
        state that was saved last: of a conversation that goes on in the store, what was changed before the save does
        not reach the archive any more, as the save has the higher version. Use the store's ``save_state`` there.

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
        encoded = self._codec.encode(dict(state.items()), "state").decode("utf-8")
        now = microseconds(datetime.now(UTC))
        values = {"id": conversation_id, "customer": customer_id, "saved": encoded, "now": now, "now_version": now}
        self._connections.run(lambda connection: _save(connection, values))

    def load(self, conversation_id: str) -> dict[str, Any] | None:
        """The state of the latest life; None where there is none.

        Raises:
            CorruptState: what lies there was not written by an archive.
            UnknownType: a value's class is not known in this process.
        """
        row = self._first(self._load, conversation_id)
        if row is None:
            return None
        encoded = row[0].encode("utf-8") if isinstance(row[0], str) else row[0]
        return self._decoded(conversation_id, encoded)

    def conversations_of(self, customer_id: str, limit: int = 20) -> builtins.list[ArchivedConversation]:
        """A customer's conversations, the one that ended or was saved last first; at most ``limit``."""
        return self.list(customer_id=_keys.check_id(customer_id, "customer id"), limit=limit)

    # The inside ------------------------------------------------------------------------------------------------------

    @cached_property
    def _put(self) -> queries.Put:
        return queries.put(self._connections.dialect)

    @cached_property
    def _load(self) -> sql.Select[Any]:
        return queries.load(self._connections.dialect)

    def _first(self, query: sql.Select[Any], conversation_id: str) -> sql.Row[Any] | None:
        values = {"id": _keys.check_id(conversation_id, "conversation id")}
        return self._connections.run(lambda connection: connection.execute(query, values).first())

    def _all(self, query: sql.Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
        return self._connections.run(lambda connection: [tuple(row) for row in connection.execute(query, values)])

    def _changed(self, statement: sql.Delete, **values: Any) -> int:
        return self._connections.run(lambda connection: connection.execute(statement, values).rowcount)

    def _batches(self, conditions: builtins.list[sql.ColumnElement[bool]], batch: int) -> Iterator[ArchiveRow]:
        query = sql.select(*ROW).where(*conditions)
        query = query.order_by(conversations.c.conversation_id, conversations.c.created_at).limit(batch)
        page = query
        while True:
            rows = [ArchiveRow(*row) for row in self._all(page)]
            yield from rows
            if len(rows) < batch:
                return
            page = query.where(queries.after(rows[-1]))

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


def _save(connection: sql.Connection, values: Mapping[str, Any]) -> None:
    if connection.dialect.name != "sqlite":
        # Two who save a new conversation at once must not begin two lives. (In SQLite the first write locks the file.)
        lock = zlib.crc32(values["id"].encode("utf-8")) - 2**31
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_FAMILY}, {lock})")
    if connection.execute(queries.SAVE_AGAIN, values).rowcount == 0:
        connection.execute(queries.SAVE_FIRST, values)


def _summary(
    conversation_id: str,
    customer_id: str | None,
    created_us: int,
    updated_us: int,
    version: int,
    ended_us: int | None,
    reason: str,
) -> ArchivedConversation:
    ended_at = None if ended_us is None else moment(ended_us)
    created_at, updated_at = moment(created_us), moment(updated_us)
    return ArchivedConversation(conversation_id, customer_id, created_at, updated_at, version, ended_at, reason)
