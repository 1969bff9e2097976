"""Changes of encrypted values, which the server cannot change where they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from redstate import _keys
from redstate._async.contention import AsyncContention
from redstate._async.record import AsyncRecord
from redstate._scope import in_call
from redstate._transactions import refuse_inside
from redstate.calls import record as record_calls
from redstate.calls import sealed as sealed_calls
from redstate.calls import state as state_calls
from redstate.calls.commit import Commit
from redstate.errors import ConflictError, InvalidInput, WrongType

T = TypeVar("T")

# A version that no record has.
_NEVER = 1


async def replace_sealed(
    record: AsyncRecord,
    field: str,
    change: Callable[[bytes | None], tuple[bytes, T]],
    op_id: str | None,
    expected_version: int | None,
) -> tuple[int, T]:
    """Make new bytes of a state field's newest ones: what a script does with a plain value.

    Args:
        record: which.
        field: the state field.
        change: the new bytes and the result; called again where another writer came first.
        op_id: as given to the change.
        expected_version: as given.

    Returns:
        the record's new version, and the result.

    Raises:
        ConflictError: it is not at ``expected_version``, or others came first for as long as a call may take.
    """
    where = _keys.state_field(field)
    refuse_inside(record.scope, "a change with op_id or expected_version")
    contention = AsyncContention(record.key, record.timeout)
    while await contention.another():
        raw = await record.read(state_calls.fetch(record.key, field), fresh=True)
        new, result = change(raw)
        try:
            call = Commit().expect(where, raw).set(where, new).call(record.codec.limits, record.key)
            return await record.apply(call, op_id, expected_version), result
        except ConflictError as conflict:
            if conflict.field is None:
                raise
    raise AssertionError("another() ends by raising")


async def append_sealed(
    record: AsyncRecord,
    field: str,
    change: Callable[[bytes | None], tuple[bytes, None]],
    op_id: str | None,
    expected_version: int | None,
) -> int:
    """Append to a list. Arguments and errors as for ``replace_sealed``. Returns the record's new version."""
    try:
        return (await replace_sealed(record, field, change, op_id, expected_version))[0]
    except (InvalidInput, WrongType):
        if op_id is not None or in_call():
            # Perhaps the operation took effect long ago: its repeat gets the first result, not a judgement.
            never = Commit().set(_keys.state_field(field), "null").call(record.codec.limits, record.key)
            with contextlib.suppress(ConflictError):
                return await record.apply(never, op_id, _NEVER)
        raise


async def reencrypt(record: AsyncRecord) -> int:
    """Write all values of a record as the store would write them now. Returns how many were written.

    Raises:
        ConfigurationError: the store has no encryption, or the running code is in a transaction of the record.
        UnknownEncryptionKey, CorruptState: a value cannot be read; nothing was written.
        ConflictError: others came first for as long as a call may take.
    """
    refuse_inside(record.scope, "reencrypt()")
    contention, written = AsyncContention(record.key, record.timeout), 0
    while await contention.another():
        fields = await record.ask(record_calls.fields(record.key))
        stale = sealed_calls.stale(record.codec, record.key, fields)
        if not stale:
            await record.nothing_to_do()
            return written
        call, values = sealed_calls.renewal(record.codec, record.key, stale)
        try:
            await record.apply(call)
        except ConflictError:
            continue
        written += values
        if values == sum(one.values for one in stale):
            return written
    raise AssertionError("another() ends by raising")
