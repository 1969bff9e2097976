"""Calls on state fields. A field's value is opaque to the server, but for whole numbers and plain lists."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from redstate import _keys, _scripts
from redstate._call import Mutation, Read, Word, result_of
from redstate._codec import Codec
from redstate.calls import effects
from redstate.calls.image import Image
from redstate.calls.record import Snapshot, one_field
from redstate.calls.weight import weighed
from redstate.errors import InvalidField, TooLarge, UnsupportedValue, WrongType

_SET = _scripts.load("state_set")
_DELETE = _scripts.load("state_delete")
_INCREMENT = _scripts.load("state_increment")
_APPEND = _scripts.load("state_append")

_INT64 = 2**63
_TAG, _TAGGED = b'"~"', b'{"~"'


class Uncached(Enum):
    """The type of ``redstate.UNCACHED``: what ``state.peek`` returns where local memory cannot say."""

    UNCACHED = "uncached"

    def __repr__(self) -> str:
        return "redstate.UNCACHED"


UNCACHED: Final = Uncached.UNCACHED

ABSENT: Any = object()
"""There is no such field."""

# Values that nobody can change can be handed out again and again.
_LASTING = frozenset({str, int, float, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, UUID})


class Unread:
    """Stands where a field has not been looked at."""


UNREAD = Unread()

MISSING: Any = object()
"""No default was given."""


def fetch(key: str, name: str) -> Read[bytes | None]:
    """One field's bytes; None where it is absent."""
    return one_field(key, _keys.state_field(name), lambda raw: raw)


def remembered(codec: Codec, key: str, name: str, image: Image) -> Any:
    """A field's value in an image, kept there for the next look; UNCACHED where it can be changed, and takes a copy."""
    raw = image.fields.get(_keys.state_field(name).encode())
    if raw is None:
        return ABSENT  # not kept: there is no end to names of what is not there
    if raw[:1] == b"[" or (raw[:1] == b"{" and not raw.startswith(_TAGGED)) or name in image.values:
        return UNCACHED
    value = codec.decode(raw, key=key, field=_keys.STATE + name)
    # That a value can be changed is kept, too: only decoding tells, where it is encrypted.
    image.values[name] = value = value if type(value) in _LASTING else UNCACHED
    return value


def has_tags(raw: bytes) -> bool:
    """Whether a value may hold more than dicts, lists, texts and numbers: what a caller could change unseen."""
    return _TAG in raw


def contained(codec: Codec, key: str, name: str, image: Image) -> tuple[bytes, Any, bool] | None:
    """A field's bytes in an image, the dict or list that they are, and whether that may hold further ones.

    It is kept there and must only be looked at. None where it holds what could be changed in the looking: a set, a
    dataclass.
    """
    raw = image.fields[_keys.state_field(name).encode()]
    if has_tags(raw):
        return None
    deep = raw.count(b"[") + raw.count(b"{") > 1
    held = image.containers[name] = raw, codec.decode(raw, key=key, field=_keys.STATE + name), deep
    return held


def checked_mapping(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """The mapping, or one made of pairs as ``dict`` makes it.

    Raises:
        InvalidField: it is something else.
    """
    if isinstance(values, Mapping):
        return values
    try:
        return dict(values)
    except (TypeError, ValueError):
        raise InvalidField(
            f"update takes a mapping of fields, not {type(values).__name__}", next_step="Pass a dict"
        ) from None


def assign(codec: Codec, key: str, values: Mapping[str, Any]) -> Mutation[int]:
    """Set every field of ``values``, all or none. Returns the new version."""
    if not values:
        raise InvalidField("There is no field to set", next_step="Name at least one field")
    cap = codec.limits.max_fields
    if len(values) > cap:
        raise TooLarge(f"{len(values):,} fields exceed {cap:,}", path="", limit=cap, actual=len(values), unit="fields")
    args: list[Word] = [str(cap), str(codec.limits.max_conversation_bytes)]
    for name, value in values.items():
        args += (_keys.state_field(name), codec.encode(value, name))
    return Mutation(
        _SET, key, tuple(args), functools.partial(weighed, codec.limits, key), limit=cap, effect=effects.state_set
    )


def delete(codec: Codec, key: str, names: tuple[str, ...]) -> Mutation[int]:
    """Take fields out. Returns how many there were."""
    if not names:
        raise InvalidField("There is no field to delete", next_step="Name at least one field")
    cap = codec.limits.max_fields
    if len(names) > cap:
        raise TooLarge(f"{len(names):,} fields exceed {cap:,}", path="", limit=cap, actual=len(names), unit="fields")
    return Mutation(_DELETE, key, tuple(map(_keys.state_field, names)), result_of, effect=effects.state_delete)


def increment(codec: Codec, key: str, name: str, by: int) -> Mutation[int]:
    """Add a whole number, exactly, within 64 bits. Returns the new value.

    Raises:
        WrongType: the field is encrypted, whatever it holds.
    """
    field = _keys.state_field(name)
    check_addend(name, by)
    if not codec.counts(name):
        raise _opaque(key, name)
    cap = codec.limits.max_fields
    args = (field, str(by), str(cap))
    return Mutation(_INCREMENT, key, args, result_of, field, cap, effects.state_increment)


def check_addend(name: str, by: Any) -> None:
    """Refuse what cannot be added to a whole number.

    Raises:
        UnsupportedValue: it is no int of at most 64 bits.
    """
    if type(by) is not int or not -_INT64 <= by < _INT64:
        raise UnsupportedValue(
            f"increment of {name!r} takes an int of at most 64 bits, not {type(by).__name__}",
            next_step="For other numbers, read and update with expected_version",
            path=name,
            value_type=type(by).__name__,
        )


def _opaque(key: str, name: str) -> WrongType:
    return WrongType(
        f"Field {name!r} of {key} is encrypted, so the server cannot change it where it lies",
        next_step="Use edit(), or leave the field out of those that are encrypted",
        key=key,
        field=name,
    )


def extend(codec: Codec, key: str, name: str, items: Iterable[Any], *, create: bool = True) -> Mutation[int]:
    """Append items to a list. Returns the new version.

    Args:
        codec: encodes the items, each under the caps on a value.
        key: the record.
        name: the state field.
        items: at least one.
        create: whether an absent field counts as an empty list; else it is refused.

    Raises:
        WrongType: the field is encrypted.
    """
    field = _keys.state_field(name)
    limits = codec.limits
    encoded = b",".join([codec.encode(item, f"{name}[]", field="") for item in items])
    if not codec.splices(name):
        raise _opaque(key, name)
    args = (
        field,
        encoded,
        str(limits.max_value_bytes),
        str(limits.max_fields),
        str(limits.max_conversation_bytes),
        "create" if create else "refuse",
    )
    parse = functools.partial(weighed, limits, key)
    return Mutation(_APPEND, key, args, parse, field, limits.max_value_bytes, effects.state_append)


def edited(
    codec: Codec, key: str, name: str, change: Callable[[Any], Any], default: Any
) -> Callable[[bytes | None], tuple[bytes, Any]]:
    """What ``change`` makes of a field's bytes: the new ones, and the new value."""

    def replay(raw: bytes | None) -> tuple[bytes, Any]:
        old = copy.deepcopy(default) if raw is None else codec.decode(raw, key=key, field=_keys.STATE + name)
        new = change(old)
        return codec.encode(new, name, before=raw), new

    return replay


def extended(codec: Codec, key: str, name: str, items: Iterable[Any]) -> Callable[[bytes | None], tuple[bytes, None]]:
    """What appending makes of a field's bytes, as the script does it."""

    def replay(raw: bytes | None) -> tuple[bytes, None]:
        value = [] if raw is None else codec.decode(raw, key=key, field=_keys.STATE + name)
        if type(value) is not list:
            raise WrongType(f"Field {name!r} of {key} does not hold a list", key=key, field=name)
        return codec.encode([*value, *items], name), None

    return replay


def counted(
    codec: Codec, key: str, name: str, by: int, op_id: str | None = None
) -> Callable[[bytes | None], tuple[bytes, int]]:
    """What incrementing makes of a field's bytes, where no script does it: the new ones, and the new value.

    Raises:
        UnsupportedValue: ``by`` is no whole number.
        WrongType: the field is encrypted, and there is an ``op_id``: the first result would be kept beside it, plain.
    """
    check_addend(name, by)
    if op_id is not None:
        raise _opaque(key, name)

    def replay(raw: bytes | None) -> tuple[bytes, int]:
        value = incremented(codec, key, name, raw, by)
        return codec.stored(b"%d" % value, _keys.STATE + name, raw), value

    return replay


def incremented(codec: Codec, key: str, name: str, raw: bytes | None, by: int) -> int:
    """What incrementing makes of a field's bytes, as the script does it.

    Raises:
        WrongType: it holds no whole number, or the sum would leave 64 bits.
    """
    if raw is None:
        return by
    raw = codec.plain(raw, key=key, field=_keys.STATE + name)
    if re.fullmatch(rb"-?\d{1,20}", raw) is None or not -_INT64 <= int(raw) + by < _INT64:
        wants = "a whole number that stays within 64 bits"
        raise WrongType(f"Field {name!r} of {key} does not hold {wants}", key=key, field=name)
    return int(raw) + by


def everything(codec: Codec, key: str, snapshot: Snapshot) -> dict[str, Any]:
    """Every state field of a snapshot, decoded."""
    return {name: codec.decode(value, key=key, field=_keys.STATE + name) for name, value in snapshot.state.items()}
