"""Encrypting a record's values anew: which of them are not as the store would write them now, and the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redstate import _keys
from redstate._call import Mutation
from redstate._codec import Codec
from redstate._codec.sealing import SealingCodec
from redstate.calls import cart_order, customer
from redstate.calls.commit import MOST_CHANGES, Commit
from redstate.errors import ConfigurationError, CorruptState

# Each field takes a condition and a change.
MOST_FIELDS = MOST_CHANGES // 2
_SINGLE = (_keys.STATE, _keys.ATTRIBUTES, _keys.WORKFLOW_DATA)


@dataclass(frozen=True, slots=True)
class Stale:
    """A field of the hash that is to be written anew: what it holds, what it should, and how many values that is."""

    field: str
    old: bytes
    new: bytes
    values: int


def stale(codec: Codec, key: str, fields: Mapping[bytes, bytes]) -> list[Stale]:
    """The fields with values that the store would write in another way now: under another key, plain, or encrypted.

    Raises:
        ConfigurationError: the store has no encryption.
        UnknownEncryptionKey, CorruptState: a value cannot be read.
    """
    if not isinstance(codec, SealingCodec):
        raise ConfigurationError(
            "The store has no encryption", next_step="Open it with encryption=redstate.Encryption(keys)"
        )
    found = []
    for raw_name, old in fields.items():
        name = _text(key, raw_name)
        new, values = _renewed(codec, key, name, old)
        if values:
            found.append(Stale(name, old, new, values))
    return found


def renewal(codec: Codec, key: str, found: list[Stale]) -> tuple[Mutation[int], int]:
    """The commit that writes them, and how many values it does; the first 1,800 fields, where there are more."""
    commit = Commit()
    for one in found[:MOST_FIELDS]:
        commit.expect(one.field, one.old).set(one.field, one.new)
    return commit.call(codec.limits, key), sum(one.values for one in found[:MOST_FIELDS])


def _renewed(codec: SealingCodec, key: str, name: str, old: bytes) -> tuple[bytes, int]:
    """A field as the store would write it now, and how many values in it were different."""
    values = 0

    def renew(data: bytes, bound: str = name) -> bytes:
        nonlocal values
        new = codec.renewed(data, key=key, field=name, bound=bound)
        values += new != data
        return new

    if name == _keys.HISTORY:
        old = customer.rewritten_history(key, old, renew)
    elif name.startswith(_keys.PLACED) and name != _keys.PLACED:
        old = cart_order.rewritten(key, name, old, lambda sku, data: renew(data, _keys.ATTRIBUTES + sku))
    elif name == _keys.USER or name.startswith(_SINGLE):
        old = renew(old)
    return old, values


def _text(key: str, name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise CorruptState(f"{key} has a field that redstate did not write", key=key, field="") from None
