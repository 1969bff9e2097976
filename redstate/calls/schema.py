"""Calls on a state that is held to a schema: reading it whole, raising its version, changes that depend on the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from redstate import _keys
from redstate._call import Read
from redstate._codec import Codec
from redstate.calls import record as record_calls
from redstate.calls import state as state_calls
from redstate.calls.commit import Commit
from redstate.calls.record import Snapshot
from redstate.errors import CorruptState, WrongType
from redstate.schema.codec import SchemaCodec
from redstate.schema.definition import Schema

S = TypeVar("S")
_SCHEMA = _keys.SCHEMA.encode()

NEVER = 1
"""A version that no record has."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record, and the schema version that its state fits; None where no schema has written it."""

    snapshot: Snapshot
    fits: int | None

    def version(self, schema: Schema[Any]) -> int:
        """The schema version that its state fits; one from before there was a schema fits the oldest."""
        return schema.oldest if self.fits is None else self.fits


def read(key: str) -> Read[Stored]:
    """The whole record and its schema version in one atomic read."""

    def stored(snapshot: Snapshot, fits: bytes | None) -> Stored:
        if fits is not None and (len(fits) != 4 or not fits.isdigit()):
            raise CorruptState(f"The schema version of {key} is none", key=key, field=_keys.SCHEMA)
        return Stored(snapshot, None if fits is None else int(fits))

    def answer(reply: list[bytes]) -> tuple[int, Stored]:
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        version = record_calls.version_number(fields.get(b"v"))
        return version, stored(record_calls.snapshot_of(key, fields), fields.get(_SCHEMA))

    return Read(
        key, ("HGETALL", key), answer, lambda image, now: stored(image.snapshot(key), image.fields.get(_SCHEMA))
    )


def field_and_version(key: str, name: str) -> Read[tuple[bytes | None, int]]:
    """A state field's bytes, and the record's version at that moment."""
    field = _keys.state_field(name)

    def both(raw: bytes | None, version: bytes | None, deleted: bytes | None) -> tuple[bytes | None, int]:
        return raw, record_calls.existing(key, version, deleted)

    def answer(reply: list[bytes | None]) -> tuple[int, tuple[bytes | None, int]]:
        return record_calls.version_number(reply[0]), both(reply[2], reply[0], reply[1])

    return Read(
        key,
        ("HMGET", key, _keys.VERSION, _keys.DELETED, field),
        answer,
        lambda image, now: both(*(image.fields.get(name) for name in (field.encode(), b"v", b"d"))),
        field,
    )


def instance(codec: SchemaCodec, schema: Schema[S], key: str, stored: Stored) -> S:
    """What the state is to the schema, by its upcasters where it fits an older version.

    Raises:
        SchemaMismatch: it cannot be made of the state.
        CorruptState, UnknownType: a value cannot be read.
    """
    version, snapshot = stored.version(schema), stored.snapshot
    if version < schema.version:
        state = schema.upcast(state_calls.everything(codec, key, snapshot), version, key)
    else:
        # What only a newer version knows may be of classes that are not here.
        known = {name: raw for name, raw in snapshot.state.items() if name in schema.rules}
        state = state_calls.everything(codec, key, snapshot.with_state(known))
    return schema.instance(state, key)


def upgrade(codec: SchemaCodec, plain: Codec, key: str, stored: Stored) -> Commit | None:
    """What writes down the state that the upcasters make; None where nothing is older.

    Args:
        codec: judges and encodes the fields of the schema.
        plain: encodes fields beside it that an upcaster left in.
        key: the record, for errors.
        stored: what was read; the commit is only right at that version.
    """
    schema, raws = codec.schema, stored.snapshot.state
    version = stored.version(schema)
    if not raws or version > schema.version or stored.fits == schema.version:
        return None
    state = schema.upcast(state_calls.everything(codec, key, stored.snapshot), version, key)
    commit = Commit().set(_keys.SCHEMA, f"{schema.version:04d}")
    for name in raws.keys() - state.keys():
        commit.delete(_keys.state_field(name))
    for name, value in state.items():
        raw = (codec if name in schema.rules else plain).encode(value, name, before=raws.get(name))
        if raw != raws.get(name):
            commit.set(_keys.state_field(name), raw)
    return commit


def starting(codec: SchemaCodec, name: str, raw: bytes | None) -> bytes | None:
    """A field's bytes; where it is absent those of its default, if it has one."""
    if raw is None and (default := codec.rule(name).default()) is not None:
        return codec.encode(default, name)
    return raw


def added(codec: SchemaCodec, key: str, name: str, raw: bytes | None, by: int) -> int:
    """What adding makes of a whole number, as the schema judges it.

    Raises:
        InvalidValue: the schema does not take the sum.
        WrongType: the field holds no whole number, or the sum would leave 64 bits.
    """
    total = state_calls.incremented(codec, key, name, starting(codec, name, raw), by)
    judged = codec.rule(name).plain(total, name)
    if type(judged) is not int or not -(2**63) <= judged < 2**63:
        raise WrongType(f"Field {name!r} of {key} does not hold a whole number within 64 bits", key=key, field=name)
    return judged


def summed(
    codec: SchemaCodec, key: str, name: str, by: int, op_id: str | None
) -> Callable[[bytes | None], tuple[bytes, int]]:
    """What adding makes of an encrypted field's bytes: the new ones, and the new value. Errors as ``added``.

    Raises:
        UnsupportedValue, WrongType: as ``state_calls.counted``.
    """
    state_calls.counted(codec, key, name, by, op_id)

    def replay(raw: bytes | None) -> tuple[bytes, int]:
        value = added(codec, key, name, raw, by)
        return codec.stored(b"%d" % value, _keys.STATE + name, raw), value

    return replay


def edited(
    codec: SchemaCodec, key: str, name: str, change: Callable[[Any], Any], default: Any
) -> Callable[[bytes | None], tuple[bytes, Any]]:
    """What ``change`` makes of a field's bytes: the new ones, and the value that they hold."""
    unjudged = state_calls.edited(codec, key, name, change, default)

    def replay(raw: bytes | None) -> tuple[bytes, Any]:
        new, _ = unjudged(raw)
        return new, codec.decode(new, key=key, field=_keys.STATE + name)

    return replay


def lengthened(codec: SchemaCodec, key: str, name: str, raw: bytes | None, item: Any) -> list[Any]:
    """What appending makes of a list.

    Raises:
        WrongType: the field holds no list.
    """
    held = starting(codec, name, raw)
    value = [] if held is None else codec.decode(held, key=key, field=_keys.STATE + name)
    if type(value) is not list:
        raise WrongType(f"Field {name!r} of {key} does not hold a list", key=key, field=name)
    return [*value, item]
