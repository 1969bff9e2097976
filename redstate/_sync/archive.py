# Generated from redstate/_async/archive.py by tools/generate_sync.py. Do not edit: edit that file.
"""The archive of a store: conversations that have ended and left it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from redstate import _keys
from redstate._sync.record import Record
from redstate.archive.backlog import Backlog, backlog_of
from redstate.archive.conversation import EndedConversation, ended_conversation
from redstate.archive.interface import ArchivedConversation
from redstate.archive.threads import ThreadArchive
from redstate.archive.transfer import plain_of
from redstate.calls import due
from redstate.calls import record as record_calls

_BATCH = 200


class Archive:
    """What a store's archive holds. Obtained as ``store.archive``.

    Every method can raise ``ArchiveError``: the database could not do it.
    """

    __slots__ = ("_archive", "_prefix", "_record")

    def __init__(self, prefix: str, record: Record, archive: ThreadArchive) -> None:
        self._prefix = prefix
        self._record = record
        self._archive = archive

    def get(self, conversation_id: str) -> EndedConversation | None:
        """A conversation; None where the archive has none of that id.

        Raises:
            InvalidId: the id cannot name a conversation.
            CorruptState: it holds what redstate did not write.
            UnknownType: a value's class is not known in this process.
        """
        key = _keys.conversation_key(self._prefix, conversation_id)
        row = self._archive.run(lambda archive: archive.find(conversation_id))
        return None if row is None else ended_conversation(self._record.codec, key, row)

    def list(
        self,
        *,
        customer_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[ArchivedConversation]:
        """Conversations without what is in them, the one that ended last first.

        Args:
            customer_id: only this customer's.
            since, until: only those that ended, or were saved, in that time; with a time zone.
            limit: how many at most.

        Raises:
            InvalidInput: an argument cannot be used.
        """
        return self._archive.run(
            lambda archive: archive.list(customer_id=customer_id, since=since, until=until, limit=limit)
        )

    def export(
        self,
        *,
        conversation_id: str | None = None,
        customer_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Conversations as plain data that ``json.dumps`` takes, in the order of their ids; see ``redstate archive``.

        Values of types that JSON lacks, and encrypted ones, are as they lie in the store.

        Args:
            conversation_id: only this one.
            customer_id, since, until: as for ``list``.
        """
        rows = self._archive.run(
            lambda archive: archive.rows(
                conversation_id=conversation_id, customer_id=customer_id, since=since, until=until, batch=_BATCH
            )
        )
        while batch := self._archive.run(lambda _: [row for _, row in zip(range(_BATCH), rows, strict=False)]):
            for row in batch:
                yield plain_of(row)

    def delete(self, conversation_id: str) -> bool:
        """Take a conversation out of the archive, for good; one that is in the store stays there.

        Returns:
            Whether the archive had it.
        """
        found: bool = self._archive.run(lambda archive: archive.delete(conversation_id))
        return found

    def backlog(self) -> Backlog:
        """What is on the way to the archive, and how late it is; asked of the server in three goes.

        Raises:
            CorruptState: the index holds what redstate did not write.
            StoreError: the server could not do it.
        """
        record, prefix, parts = self._record, self._prefix, range(_keys.DUE_PARTS)
        now = record.ask(record_calls.server_time(_keys.due_part_key(prefix, 0)))
        calls = [due.count(prefix, part, until) for until in ("+inf", str(now)) for part in parts]
        counts = record.ask_all(calls)
        tracked, waiting = counts[: len(parts)], counts[len(parts) :]
        late = [part for part in parts if waiting[part]]
        oldest = record.ask_all([due.oldest(prefix, part) for part in late])
        return backlog_of(now, sum(tracked), sum(waiting), oldest)
