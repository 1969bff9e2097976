"""Replacing the whole state of a conversation by another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redstate._async.contention import AsyncContention
from redstate._async.record import AsyncRecord
from redstate.calls.replace import replacement
from redstate.errors import ConflictError


async def replace_state(record: AsyncRecord, values: Mapping[str, Any]) -> int:
    """Set the fields of ``values`` and delete all others, in one change. Returns the new version.

    Raises:
        ConflictError: others added and deleted fields for as long as a call may take.
    """
    contention = AsyncContention(record.key, record.timeout)
    while await contention.another():
        call = replacement(record.codec, record.key, values, await record.snapshot(fresh=True))
        try:
            return await record.apply(call)
        except ConflictError:
            continue
    raise AssertionError("another() ends by raising")
