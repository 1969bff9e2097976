"""The extension types without members: how each is written as a list of JSON scalars and read back.

A reader need not judge its input: the caller writes what was read once more and compares, so every loose spelling
that a standard parser lets through is caught in one place.
"""

from __future__ import annotations

import binascii
import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from redstate._codec.refusals import Malformed, UnknownClass, Unsupported

_MICROSECOND = dt.timedelta(microseconds=1)
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One extension type: its tag, its writer and its reader."""

    tag: str
    write: Callable[[Any], list[Any]]
    read: Callable[..., Any]


def _write_int(value: int) -> list[Any]:
    # Hexadecimal: Python limits the length of decimal conversions, and they take quadratic time.
    return [f"{value:x}"]


def _read_int(digits: str) -> int:
    return int(digits, 16)


def _write_decimal(value: Decimal) -> list[Any]:
    if not value.is_finite():
        raise Unsupported(Decimal, "is not a finite number")
    return [str(value)]


def _write_uuid(value: UUID) -> list[Any]:
    if value.is_safe is SafeUUID.unknown:
        return [str(value)]
    return [str(value), value.is_safe.value]


def _read_uuid(text: str, safety: int | None = None) -> UUID:
    return UUID(text, is_safe=SafeUUID(safety))


def _write_bytes(value: bytes | bytearray) -> list[Any]:
    return [binascii.b2a_base64(value, newline=False).decode("ascii")]


def _read_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text)


def _read_bytearray(text: str) -> bytearray:
    return bytearray(binascii.a2b_base64(text))


def _write_date(value: dt.date) -> list[Any]:
    return [value.isoformat()]


def _write_clock(value: dt.datetime | dt.time) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), value.fold, *_write_zone(value.tzinfo)]


def _read_datetime(text: str, fold: int, *zone: Any) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=_read_zone(*zone))


def _read_time(text: str, fold: int, *zone: Any) -> dt.time:
    return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=_read_zone(*zone))


def _write_zone(zone: dt.tzinfo | None) -> list[Any]:
    if zone is None:
        return []
    if zone is dt.UTC:
        return [0]
    if type(zone) is dt.timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        named = [] if name == dt.timezone(offset).tzname(None) else [name]
        return [offset // _MICROSECOND, *named]
    if type(zone) is ZoneInfo and _ZONE_KEY.fullmatch(zone.key or ""):
        return [zone.key]
    raise Unsupported(type(zone), "has a time zone that is neither a fixed offset nor a named ZoneInfo")


def _read_zone(place: str | int | None = None, name: str | None = None) -> dt.tzinfo | None:
    if place is None:
        return None
    if isinstance(place, str):
        return _named_zone(place)
    offset = place * _MICROSECOND
    return dt.timezone(offset) if name is None else dt.timezone(offset, name)


def _named_zone(key: str) -> ZoneInfo:
    if not _ZONE_KEY.fullmatch(key):
        raise Malformed("a malformed time zone")
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        next_step = "Install the tzdata package, or the time zone data of the system, before reading"
        raise UnknownClass(f"zoneinfo.ZoneInfo({key[:64]})", next_step) from None


def _write_timedelta(value: dt.timedelta) -> list[Any]:
    return [value.days, value.seconds, value.microseconds]


BIG_INT = Scalar("int", _write_int, _read_int)

BY_TYPE: dict[type, Scalar] = {
    Decimal: Scalar("decimal", _write_decimal, Decimal),
    UUID: Scalar("uuid", _write_uuid, _read_uuid),
    bytes: Scalar("bytes", _write_bytes, _read_bytes),
    bytearray: Scalar("bytearray", _write_bytes, _read_bytearray),
    dt.datetime: Scalar("datetime", _write_clock, _read_datetime),
    dt.date: Scalar("date", _write_date, dt.date.fromisoformat),
    dt.time: Scalar("time", _write_clock, _read_time),
    dt.timedelta: Scalar("timedelta", _write_timedelta, dt.timedelta),
}

BY_TAG: dict[str, Scalar] = {scalar.tag: scalar for scalar in (BIG_INT, *BY_TYPE.values())}
