"""Calls on a conversation's record as a whole: version, life time, deletion, snapshot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from redstate import _keys, _scripts
from redstate._call import Mutation, Query, Read, result_of
from redstate.errors import CorruptState, InvalidTTL

T = TypeVar("T")

_DELETE = _scripts.load("record_delete")
_TOUCH = _scripts.load("record_touch")
_TTL = _scripts.load("record_ttl")
_SETTLE = _scripts.load("record_settle")

# How long the remains of a deleted record are kept, in milliseconds: repeats of its last operations are recognised.
DELETED_WINDOW_MS = 600_000
_LONGEST_TTL = 315_360_000.0
KEPT = 0
"""In place of an expiry in milliseconds: the record is kept until it is archived."""


def milliseconds(ttl: float) -> int:
    """An expiry in seconds as whole milliseconds.

    Raises:
        InvalidTTL: it is no number, not finite, below a millisecond or above ten years.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise InvalidTTL(f"ttl must be a number of seconds, not {type(ttl).__name__}")
    if not math.isfinite(ttl) or not 0.001 <= ttl <= _LONGEST_TTL:
        raise InvalidTTL("ttl is out of range")
    return round(ttl * 1000)


def ttl_word(ttl_ms: int) -> str:
    """An expiry in milliseconds as scripts take it; ``KEPT`` sets none."""
    return str(ttl_ms) if ttl_ms else "-"


def delete(key: str) -> Mutation[bool]:
    """Delete the record. Returns whether there was one."""
    return Mutation(_DELETE, key, (), lambda answer: result_of(answer) == 1)


def settle(key: str) -> Mutation[bool]:
    """Put an end to the operation under whose id this is sent. Returns False: it did not run, and never will.

    One that did run shows as an ``OperationMismatch``.
    """
    return Mutation(_SETTLE, key, (), lambda answer: False)


def touch(key: str, ttl_ms: int) -> Query[bool]:
    """Slide the expiry. Returns whether the record exists."""
    return Query(key, (*_TOUCH.evalsha, key, ttl_word(ttl_ms)), lambda reply: int(reply) == 1, script=_TOUCH)


def remaining(key: str) -> Query[float | None]:
    """Seconds of life left; None without a record or an expiry."""

    def parse(reply: bytes) -> float | None:
        ttl_ms = int(reply)
        return ttl_ms / 1000 if ttl_ms >= 0 else None

    return Query(key, (*_TTL.evalsha, key), parse, script=_TTL)


def fields(key: str) -> Query[dict[bytes, bytes]]:
    """All of a record, journals and all."""
    return Query(key, ("HGETALL", key), lambda reply: dict(zip(reply[::2], reply[1::2], strict=True)))


def server_time(key: str) -> Query[int]:
    """The server's clock in microseconds; ``key`` says which server's."""
    return Query(key, ("TIME",), lambda reply: int(reply[0]) * 1_000_000 + int(reply[1]))


def corrupt_field(key: str, field: str) -> CorruptState:
    """The error of a field whose bytes are not redstate's."""
    return CorruptState(f"Field {field!r} of {key} holds bytes that redstate did not write", key=key, field=field)


def version(key: str) -> Read[int]:
    """The record's version; 0 where there is none."""

    def answer(reply: list[bytes | None]) -> tuple[int, int]:
        return version_number(reply[0]), existing(key, *reply)

    return Read(
        key,
        ("HMGET", key, _keys.VERSION, _keys.DELETED),
        answer,
        lambda image, now: existing(key, image.fields.get(b"v"), image.fields.get(b"d")),
    )


def stored_version(key: str) -> Read[int]:
    """The version that stands in the record, also where it was deleted; 0 where there is no record."""

    def answer(reply: bytes | None) -> tuple[int, int]:
        return version_number(reply), version_number(reply)

    return Read(key, ("HGET", key, _keys.VERSION), answer, lambda image, now: image.version)


def existing(key: str, current: bytes | None, deleted: bytes | None) -> int:
    """The version in the fields of a record; 0 where it was deleted.

    Raises:
        CorruptState: it is none.
    """
    if current is None or current == deleted:
        return 0
    return _version(key, current)


def version_number(text: bytes | None) -> int:
    """The number in a record's version field: 0 where there is none, -1 where redstate did not write it."""
    if text is None:
        return 0
    return int(text) if len(text) == 16 and text.isdigit() else -1


def one_field(key: str, field: str, parse: Callable[[bytes | None], T]) -> Read[T]:
    """What ``parse`` makes of one field of the record; ``field`` is its whole name in the hash."""
    return Read(
        key,
        ("HMGET", key, _keys.VERSION, field),
        lambda reply: (version_number(reply[0]), parse(reply[1])),
        lambda image, now: parse(image.fields.get(field.encode())),
        field,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every field of a record at one version, still encoded. Fields are without their prefixes.

    ``field_order`` is the index of the state fields as they came, as it stands in the record; where the last one went
    it is empty, not None.
    """

    version: int
    state: dict[str, bytes]
    quantities: dict[str, bytes]
    prices: dict[str, bytes]
    added: dict[str, bytes]
    attributes: dict[str, bytes]
    orders: dict[str, bytes]
    field_order: bytes | None = None

    def with_state(self, state: dict[str, bytes]) -> Snapshot:
        """The same record with another state."""
        return replace(self, state=state)


def snapshot(key: str) -> Read[Snapshot]:
    """The whole record in one atomic read."""

    def answer(reply: list[bytes]) -> tuple[int, Snapshot]:
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        return version_number(fields.get(b"v")), snapshot_of(key, fields)

    return Read(key, ("HGETALL", key), answer, lambda image, now: image.snapshot(key))


def snapshot_of(key: str, fields: Mapping[bytes, bytes]) -> Snapshot:
    """A record's fields by its parts.

    Raises:
        CorruptState: it has no version, or a name that is no text.
    """
    found = fields.get(b"v")
    if found is None and fields:
        raise CorruptState(f"{key} has no version", key=key, field=_keys.VERSION)
    parts: dict[bytes, dict[str, bytes]] = {kind: {} for kind in (b"s", b"c", b"p", b"a", b"l", b"o")}
    field = b""
    try:
        for field, value in fields.items():
            part = parts.get(field[:1])
            if part is not None:
                part[field[1:].decode()] = value
    except UnicodeDecodeError:
        raise CorruptState(f"{key} has a field name that is no text", key=key, field=repr(field[:40])) from None
    absent = found is None or fields.get(b"d") == found
    order = fields.get(b"k")
    return Snapshot(
        version=0 if found is None or absent else _version(key, found),
        state=_in_order(parts[b"s"], order or b""),
        quantities=parts[b"c"],
        prices=parts[b"p"],
        added=parts[b"a"],
        attributes=parts[b"l"],
        orders=parts[b"o"],
        field_order=order,
    )


def _in_order(state: dict[str, bytes], index: bytes) -> dict[str, bytes]:
    """State fields as they came: a hash forgets their order. Such as the index does not name come last."""
    ordered, at = {}, 0
    while at < len(index):
        end = at + 2 + index[at]
        name = index[at + 1 : end].decode("utf-8", "replace")
        if name in state:
            ordered[name] = state[name]
        at = end
    return ordered if len(ordered) == len(state) else {**ordered, **state}


def _version(key: str, text: bytes) -> int:
    if len(text) != 16 or not text.isdigit():
        raise CorruptState(f"The version of {key} is no version", key=key, field=_keys.VERSION)
    return int(text)
