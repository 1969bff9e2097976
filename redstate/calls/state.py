"""Calls on state fields. A field's value is opaque to the server, but for whole numbers and plain lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redstate import _keys, _scripts
from redstate._call import Mutation, Query, Word, result_of, version_of
from redstate._codec import Codec
from redstate.calls.record import Snapshot
from redstate.errors import InvalidField, TooLarge, UnsupportedValue

_SET = _scripts.load("state_set")
_DELETE = _scripts.load("fields_delete")
_INCREMENT = _scripts.load("state_increment")
_APPEND = _scripts.load("state_append")

_INT64 = 2**63


def get(codec: Codec, key: str, name: str, default: Any) -> Query[Any]:
    """One field, decoded; ``default`` where it is absent."""
    field = _keys.state_field(name)

    def parse(reply: bytes | None) -> Any:
        return default if reply is None else codec.decode(reply, key=key, field=field)

    return Query(key, ("HGET", key, field), parse, field)


def checked_mapping(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping, if it is one.

    Raises:
        InvalidField: it is something else.
    """
    if not isinstance(values, Mapping):
        raise InvalidField(f"update takes a mapping of fields, not {type(values).__name__}", next_step="Pass a dict")
    return values


def assign(codec: Codec, key: str, values: Mapping[str, Any]) -> Mutation[int]:
    """Set every field of ``values``, all or none. Returns the new version."""
    if not values:
        raise InvalidField("There is no field to set", next_step="Name at least one field")
    cap = codec.limits.max_fields
    if len(values) > cap:
        raise TooLarge(f"{len(values):,} fields exceed {cap:,}", path="", limit=cap, actual=len(values), unit="fields")
    args: list[Word] = [str(cap)]
    for name, value in values.items():
        args += (_keys.state_field(name), codec.encode(value, name))
    return Mutation(_SET, key, tuple(args), version_of, limit=cap)


def delete(codec: Codec, key: str, names: tuple[str, ...]) -> Mutation[int]:
    """Take fields out. Returns how many there were."""
    if not names:
        raise InvalidField("There is no field to delete", next_step="Name at least one field")
    cap = codec.limits.max_fields
    if len(names) > cap:
        raise TooLarge(f"{len(names):,} fields exceed {cap:,}", path="", limit=cap, actual=len(names), unit="fields")
    return Mutation(_DELETE, key, tuple(map(_keys.state_field, names)), result_of)


def increment(codec: Codec, key: str, name: str, by: int) -> Mutation[int]:
    """Add a whole number, exactly, within 64 bits. Returns the new value."""
    field = _keys.state_field(name)
    if type(by) is not int or not -_INT64 <= by < _INT64:
        raise UnsupportedValue(
            f"increment of {name!r} takes an int of at most 64 bits, not {type(by).__name__}",
            next_step="For other numbers, read and update with expected_version",
            path=name,
            value_type=type(by).__name__,
        )
    cap = codec.limits.max_fields
    return Mutation(_INCREMENT, key, (field, str(by), str(cap)), result_of, field, cap)


def append(codec: Codec, key: str, name: str, item: Any) -> Mutation[int]:
    """Append to a list. Returns the new version."""
    field = _keys.state_field(name)
    limits = codec.limits
    encoded = codec.encode(item, f"{name}[]")
    args = (field, encoded, str(limits.max_value_bytes), str(limits.max_fields))
    return Mutation(_APPEND, key, args, version_of, field, limits.max_value_bytes)


def everything(codec: Codec, key: str, snapshot: Snapshot) -> dict[str, Any]:
    """Every state field of a snapshot, decoded."""
    return {name: codec.decode(value, key=key, field=_keys.STATE + name) for name, value in snapshot.state.items()}
