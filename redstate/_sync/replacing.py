# Generated from redstate/_async/replacing.py by tools/generate_sync.py. Do not edit: edit that file.
"""Replacing the whole state of a conversation by another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redstate._sync.contention import Contention
from redstate._sync.record import Record
from redstate.calls.replace import replacement
from redstate.errors import ConflictError


def replace_state(record: Record, values: Mapping[str, Any]) -> int:
    """Set the fields of ``values`` and delete all others, in one change. Returns the new version.

    Raises:
        ConflictError: others added and deleted fields for as long as a call may take.
    """
    contention = Contention(record.key, record.timeout)
    while contention.another():
        call = replacement(record.codec, record.key, values, record.snapshot(fresh=True))
        try:
            return record.apply(call)
        except ConflictError:
            continue
    raise AssertionError("another() ends by raising")
