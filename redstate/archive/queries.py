"""The statements of the archive: made once, as making one takes longer than running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from redstate import _keys
from redstate.archive.interface import ArchiveRow
from redstate.archive.tables import LAST_MOMENT, LAST_SEEN, ROW, conversations, microseconds, values_of
from redstate.errors import InvalidInput

_c = conversations.c
_LAST_SCHEMA = 9_999
_ID: sql.BindParameter[str] = sql.bindparam("id", type_=_c.conversation_id.type)
_SAME = _c.conversation_id == _ID
_NEWEST_FIRST = _c.created_at.desc()
_LATEST = sql.select(sql.func.max(_c.created_at)).where(_SAME).scalar_subquery()

LIVES = sql.select(*ROW).where(_SAME).order_by(_NEWEST_FIRST)
FIND = LIVES.limit(1)
HOLDS: sql.Select[tuple[Any]] = sql.select(sql.literal_column("1")).where(_SAME).limit(1)
VERSIONS = sql.select(_c.conversation_id, _c.created_at, _c.version).where(
    _c.conversation_id.in_(sql.bindparam("ids", type_=_c.conversation_id.type, expanding=True))
)
DELETE = sql.delete(conversations).where(_SAME)
DELETE_OF = sql.delete(conversations).where(_c.customer_id == _ID)
DELETE_ROW = DELETE.where(
    _c.created_at == sql.bindparam("created", type_=_c.created_at.type),
    _c.version == sql.bindparam("version_", type_=_c.version.type),
)
IDS_OF = sql.select(_c.conversation_id).where(_c.customer_id == _ID).distinct()
# What is begun after an erasure stays, and what is changed after a deletion, in the same life or another. The life that
# was erased goes in any case: the clock may have been set back since it began.
_ERASED_LIFE = _c.created_at == sql.bindparam("created", type_=_c.created_at.type)
_BEGUN_BEFORE = _c.created_at <= sql.bindparam("until", type_=_c.created_at.type)
_THEIRS = sql.or_(
    _c.customer_id.is_(None),
    _c.customer_id.in_(sql.bindparam("customers", type_=_c.customer_id.type, expanding=True)),
)
FORGET_CHANGED = DELETE.where(_c.version <= sql.bindparam("until", type_=_c.version.type))
FORGET_BEGUN = DELETE.where(sql.or_(_ERASED_LIFE, _BEGUN_BEFORE))
FORGET_BEGUN_OF = DELETE.where(sql.or_(_ERASED_LIFE, sql.and_(_BEGUN_BEFORE, _THEIRS)))

_NOW: sql.BindParameter[int] = sql.bindparam("now", type_=_c.updated_at.type)
_NOW_VERSION: sql.BindParameter[int] = sql.bindparam("now_version", type_=sql.BigInteger)
_CUSTOMER: sql.BindParameter[str] = sql.bindparam("customer", type_=_c.customer_id.type)
_STATE: sql.BindParameter[str] = sql.bindparam("saved", type_=sql.Text)
SAVE_AGAIN = (
    sql.update(conversations)
    .where(_SAME, _c.created_at == _LATEST)
    .values(
        customer_id=sql.func.coalesce(_CUSTOMER, _c.customer_id),
        state=_STATE,
        updated_at=_NOW,
        version=sql.case((_c.version >= _NOW_VERSION, _c.version + 1), else_=_NOW_VERSION),
    )
)
SAVE_FIRST = sql.insert(conversations).values(
    conversation_id=_ID,
    customer_id=_CUSTOMER,
    state=_STATE,
    created_at=_NOW,
    updated_at=_NOW,
    version=_NOW_VERSION,
    reason="saved",
)


def load(dialect: sql.Dialect) -> sql.Select[Any]:
    """The state of the latest life. As bytes where the database does not hold text to be UTF-8; the codec judges it."""
    column: sql.ColumnElement[Any] = _c.state
    if dialect.name == "sqlite":
        column = sql.cast(_c.state, sql.LargeBinary)
    return sql.select(column).where(_SAME).order_by(_NEWEST_FIRST).limit(1)


_TOGETHER, _PORTION = 50, 10


class Put(NamedTuple):
    """Rows go past Core into the driver: its executemany took 10 microseconds a row longer (SQLite).

    SQLite's driver lets go of the interpreter for each statement, and has it back when the event loop's thread has done
    what it is at; so rows go together in statements of 50, which took a quarter of the process's time away.
    PostgreSQL on a Unix socket takes 16,000 rows/s one by one. They go ten at a time: else its process, where it shares
    processors with those who serve callers, makes no way for them before all are written. (ARCHITECTURE has figures.)

    Attributes:
        one: the statement for one row.
        together: the same for 50; None where that gains nothing.
        values: of a row.
    """

    one: str
    together: str | None
    values: Callable[[ArchiveRow], tuple[Any, ...]]

    def run(self, connection: sql.Connection, rows: Sequence[ArchiveRow]) -> None:
        """Write rows, in their order."""
        values, first = [self.values(row) for row in rows], 0
        if self.together is not None:
            first = len(rows) - len(rows) % _TOGETHER
            for start in range(0, first, _TOGETHER):
                together = tuple(chain.from_iterable(values[start : start + _TOGETHER]))
                connection.exec_driver_sql(self.together, together)
        for start in range(first, len(values), _PORTION):  # of SQLite the rest, which is too few for that
            connection.exec_driver_sql(self.one, values[start : start + _PORTION])


def put(dialect: sql.Dialect) -> Put:
    """What writes rows that are new, or newer than what is there."""
    insert = sqlite.insert(conversations) if dialect.name == "sqlite" else postgresql.insert(conversations)
    key, new = {"conversation_id", "created_at"}, insert.excluded
    changes: dict[str, sql.ColumnElement[Any]] = {column.key: new[column.key] for column in _c if column.key not in key}
    changes["customer_id"] = sql.func.coalesce(new.customer_id, _c.customer_id)
    upsert = insert.on_conflict_do_update(index_elements=sorted(key), set_=changes, where=new.version > _c.version)
    compiled = upsert.compile(dialect=dialect)
    one, together = str(compiled), None
    if dialect.name == "sqlite":
        row = f"({', '.join('?' * len(compiled.positiontup or ()))})"
        assert row in one
        together = one.replace(row, ", ".join([row] * _TOGETHER), 1)
    return Put(one, together, values_of(list(compiled.positiontup or ()), dialect))


def check_row(row: ArchiveRow) -> None:
    """Refuse what could not be found again.

    Raises:
        InvalidId: an id is empty, too long or no text.
        InvalidInput: a moment or the version is out of range.
    """
    _check_id(row.conversation_id, "conversation id")
    if row.customer_id is not None:
        _check_id(row.customer_id, "customer id")
    check_numbers(row.created_us, row.updated_us, row.version, row.ended_us or 0)
    if row.schema_version is not None and not 0 <= row.schema_version <= _LAST_SCHEMA:
        raise InvalidInput("The schema version is none that redstate wrote")


def _check_id(text: str, what: str) -> None:
    # Nearly all ids are plain ASCII, where a character is a byte; the others are worth a closer look.
    if not (type(text) is str and text.isascii() and 0 < len(text) <= _keys.MAX_ID_BYTES):
        _keys.check_id(text, what)


def check_numbers(*numbers: int) -> None:
    """Refuse moments and versions that are out of range.

    Raises:
        InvalidInput: one is.
    """
    for number in numbers:
        if type(number) is not int or not 0 <= number <= LAST_MOMENT:
            raise InvalidInput("A moment or version is no number of microseconds from 1970 to the year 9999")


def matching(
    conversation_id: str | None, customer_id: str | None, since: datetime | None, until: datetime | None
) -> list[sql.ColumnElement[bool]]:
    """The conditions for conversations of an id, of a customer, and last seen from ``since`` to before ``until``.

    Raises:
        InvalidId: an id is empty, too long or no text.
        InvalidInput: a moment has no time zone.
    """
    found: list[sql.ColumnElement[bool]] = []
    if conversation_id is not None:
        found.append(_c.conversation_id == _keys.check_id(conversation_id, "conversation id"))
    if customer_id is not None:
        found.append(_c.customer_id == _keys.check_id(customer_id, "customer id"))
    if since is not None:
        found.append(_moment(since, "since") <= LAST_SEEN)
    if until is not None:
        found.append(_moment(until, "until") > LAST_SEEN)
    return found


def after(row: ArchiveRow) -> sql.ColumnElement[bool]:
    """The condition for what comes after a row in the order of the primary key, which no update changes."""
    place = sql.tuple_(
        sql.literal(row.conversation_id, _c.conversation_id.type), sql.literal(row.created_us, _c.created_at.type)
    )
    return sql.tuple_(_c.conversation_id, _c.created_at) > place


def _moment(when: datetime, name: str) -> sql.ColumnElement[Any]:
    if not isinstance(when, datetime) or when.tzinfo is None or when.utcoffset() is None:
        raise InvalidInput(f"{name} has no time zone", next_step="Pass an aware datetime: datetime.now(UTC)")
    return sql.literal(microseconds(when), _c.updated_at.type)
