"""The call that replaces the whole state of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redstate import _keys
from redstate._call import Mutation
from redstate._codec import Codec
from redstate.calls.commit import Commit
from redstate.calls.record import Snapshot
from redstate.calls.state import checked_mapping


def replacement(codec: Codec, key: str, values: Mapping[str, Any], seen: Snapshot) -> Mutation[int]:
    """Set the fields of ``values`` and delete those that ``seen`` has beside them. Returns the new version.

    The schema version goes too: these fields are judged by none, and count as from before there was one.

    It is refused where fields came or went since ``seen``. A field that only changed is set or deleted all the same.
    """
    commit = Commit().expect(_keys.ORDER, seen.field_order).delete(_keys.SCHEMA)
    wanted = checked_mapping(values)
    for name, value in wanted.items():
        commit.set(_keys.state_field(name), codec.encode(value, name))
    for name in seen.state.keys() - wanted.keys():
        commit.delete(_keys.state_field(name))
    return commit.call(codec.limits, key)
