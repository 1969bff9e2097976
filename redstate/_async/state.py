"""The state of a conversation: named fields of any supported value, each change one atomic script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redstate._async.record import AsyncRecord
from redstate.calls import state as state_calls


class AsyncState:
    """Fields of a conversation. Obtained as ``conversation.state``.

    Every change takes two keyword arguments: ``op_id`` repeats an earlier operation, or names this one, so that it runs
    at most once; ``expected_version`` applies the change only while the conversation is at that version (0: only if it
    does not exist).

    Every change can raise what :mod:`redstate.errors` draws: ``InvalidInput`` before anything is sent, ``Rejected``
    with nothing written, ``OutcomeUnknown`` with the ``op_id`` to repeat it by, and ``StoreError``.
    """

    __slots__ = ("_record",)

    def __init__(self, record: AsyncRecord) -> None:
        self._record = record

    async def get(self, field: str, default: Any = None) -> Any:
        """The value of a field, or ``default``. Read from the server.

        Raises:
            CorruptState: the field holds bytes that redstate did not write.
        """
        record = self._record
        return await record.ask(state_calls.get(record.codec, record.key, field, default))

    async def all(self) -> dict[str, Any]:
        """Every field, read at one version."""
        record = self._record
        return state_calls.everything(record.codec, record.key, await record.snapshot())

    async def set(
        self, field: str, value: Any, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Set a field. Returns the conversation's new version."""
        record = self._record
        return await record.apply(state_calls.assign(record.codec, record.key, {field: value}), op_id, expected_version)

    async def update(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
        **fields: Any,
    ) -> int:
        """Set several fields, all or none. Returns the conversation's new version.

        Args:
            values: fields by name, also such as are no Python names.
            fields: further ones, as keywords.
        """
        record = self._record
        merged = fields if values is None else {**state_calls.checked_mapping(values), **fields}
        return await record.apply(state_calls.assign(record.codec, record.key, merged), op_id, expected_version)

    async def delete(self, *fields: str, op_id: str | None = None, expected_version: int | None = None) -> int:
        """Delete fields. Returns how many there were."""
        record = self._record
        return await record.apply(state_calls.delete(record.codec, record.key, fields), op_id, expected_version)

    async def increment(
        self, field: str, by: int = 1, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Add a whole number to a field; an absent one counts as 0. Returns the new value.

        Raises:
            WrongType: the field holds no whole number, or the sum would leave 64 bits.
        """
        record = self._record
        return await record.apply(state_calls.increment(record.codec, record.key, field, by), op_id, expected_version)

    async def append(
        self, field: str, item: Any, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Append an item to a list; an absent one counts as empty. Returns the conversation's new version.

        Raises:
            WrongType: the field holds no list.
            TooLarge: the list would exceed the cap on a value's bytes.
        """
        record = self._record
        return await record.apply(state_calls.append(record.codec, record.key, field, item), op_id, expected_version)
