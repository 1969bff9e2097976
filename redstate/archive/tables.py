"""The table of archived conversations as queries see it. What makes it and changes it is in ``migrations``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import sqlalchemy as sql
from sqlalchemy.types import UserDefinedType

from redstate.archive.interface import ArchiveRow
from redstate.calls.moments import EPOCH, moment

LAST_MOMENT = 253_402_300_799_999_999  # the end of the year 9999, beyond which datetime does not go
_MICROSECOND = timedelta(microseconds=1)


def microseconds(when: datetime) -> int:
    """Microseconds since 1970, exact, from an aware datetime."""
    return (when - EPOCH) // _MICROSECOND


def _may_be_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


class Moment(UserDefinedType[int]):
    """Microseconds since 1970 UTC: a TIMESTAMPTZ in PostgreSQL, the number itself in SQLite.

    SQLite has no type for moments. The number is exact, and made inserts half again as fast as text did.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TIMESTAMPTZ"

    def bind_processor(self, dialect: sql.Dialect) -> Callable[[Any], Any] | None:
        return None if dialect.name == "sqlite" else _may_be_none(moment)

    def result_processor(self, dialect: sql.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return None if dialect.name == "sqlite" else _may_be_none(microseconds)


class Id(UserDefinedType[str]):
    """The id of a conversation or a customer, which can hold any character.

    PostgreSQL's text cannot hold NUL: there it is written %00, and so that no two ids become one, % is written %25.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT"

    def bind_processor(self, dialect: sql.Dialect) -> Callable[[Any], Any] | None:
        return None if dialect.name == "sqlite" else _may_be_none(escaped)

    def result_processor(self, dialect: sql.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return None if dialect.name == "sqlite" else _may_be_none(unescaped)


def escaped(text: str) -> str:
    """An id as PostgreSQL can hold it."""
    return text.replace("%", "%25").replace("\0", "%00")


def unescaped(text: str) -> str:
    """The id from what PostgreSQL holds. (In this order: an escaped text never has %00 but for a NUL.)"""
    return text.replace("%00", "\0").replace("%25", "%")


# What is JSON is TEXT in PostgreSQL too: JSONB would reorder keys, write numbers anew and refuse \u0000, and an archive
# gives back what it was given, to the byte.
conversations = sql.Table(
    "conversation_state",
    sql.MetaData(),
    sql.Column("conversation_id", Id, primary_key=True),
    sql.Column("customer_id", Id),
    sql.Column("state", sql.Text, nullable=False),
    sql.Column("created_at", Moment, primary_key=True),
    sql.Column("updated_at", Moment, nullable=False),
    sql.Column("version", sql.BigInteger, nullable=False),
    sql.Column("ended_at", Moment),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("cart", sql.Text),
    sql.Column("workflow", sql.Text),
    sql.Column("session", sql.Text),
    sql.Column("schema_version", sql.Integer),
    sql.Column("record", sql.LargeBinary),
)
_c = conversations.c

# As the indexes have it, to the letter; else they would not be used.
LAST_SEEN = sql.func.coalesce(_c.ended_at, _c.updated_at)

# In the order of the fields of ArchiveRow, and of ArchivedConversation.
ROW = (
    *(_c.conversation_id, _c.created_at, _c.customer_id, _c.version, _c.updated_at, _c.ended_at, _c.reason),
    *(_c.schema_version, _c.state, _c.cart, _c.workflow, _c.session, _c.record),
)
SUMMARY = (_c.conversation_id, _c.customer_id, _c.created_at, _c.updated_at, _c.version, _c.ended_at, _c.reason)

_FIELDS = {"created_at": "created_us", "updated_at": "updated_us", "ended_at": "ended_us"}


def values_of(columns: list[str], dialect: sql.Dialect) -> Callable[[ArchiveRow], tuple[Any, ...]]:
    """A function that takes out of a row what goes into those columns, as the driver wants it."""
    pick: Callable[[ArchiveRow], tuple[Any, ...]] = attrgetter(*(_FIELDS.get(name, name) for name in columns))
    types = [_c[name].type for name in columns]
    writers = [each.bind_processor(dialect) if isinstance(each, (Id, Moment)) else None for each in types]
    if not any(writers):
        return pick
    return lambda row: tuple(
        value if write is None else write(value) for write, value in zip(writers, pick(row), strict=True)
    )
