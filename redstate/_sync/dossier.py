# Generated from redstate/_async/dossier.py by tools/generate_sync.py. Do not edit: edit that file.
"""All that is stored of one customer, wherever it lies: to hand it out, or to erase it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from redstate import _keys
from redstate._sync.record import Record
from redstate.archive.conversation import EndedConversation, ended_conversation
from redstate.archive.dossier import CustomerErasure, CustomerExport, customer_tag, forget_all, ids_of, lives_of
from redstate.archive.rows import customer_of, row_of
from redstate.calls import customer as customer_calls
from redstate.calls import due, lifetime
from redstate.calls import record as record_calls
from redstate.calls import session as session_calls
from redstate.errors import DataError

if TYPE_CHECKING:
    from redstate._sync.store import Store

# More than a customer's lists hold.
_ALL = 1_000_000


class Dossier:
    """The traces of one customer.

    Args:
        store: where they are.
        customer_id: whose.
        record: the customer's.
    """

    __slots__ = ("_id", "_prefix", "_record", "_store")

    def __init__(self, store: Store, customer_id: str, record: Record) -> None:
        self._store = store
        self._prefix = store._settings.key_prefix
        self._id = customer_id
        self._record = record

    def export(self) -> CustomerExport:
        """As the customer's handle's."""
        customer, codec, archive = self._store.customer(self._id), self._record.codec, self._store._ended
        found: dict[tuple[str, int], EndedConversation] = {}
        unreadable: list[str] = []
        if archive is not None:
            linked = [link.id for link in customer.conversations(_ALL, fresh=True)]
            for row in archive.run(lambda opened: lives_of(opened, self._id, linked)):
                key = _keys.conversation_key(self._prefix, row.conversation_id)
                try:
                    found[row.conversation_id, row.created_us] = ended_conversation(codec, key, row)
                except DataError:
                    unreadable.append(row.conversation_id)
        for conversation_id, key in self._held(unreadable):
            fields = self._record.ask(record_calls.fields(key))
            if b"v" not in fields or fields.get(b"d") == fields[b"v"]:
                continue
            try:
                row = row_of(codec, conversation_id, key, fields)
                # What was resumed lies in both, and here is what it is now.
                found[conversation_id, row.created_us] = ended_conversation(codec, key, row)
            except DataError:
                unreadable.append(conversation_id)
        return CustomerExport(
            customer_id=self._id,
            profile=customer.all(fresh=True),
            history=customer.history(_ALL, fresh=True),
            links=customer.conversations(_ALL, fresh=True),
            conversations=[found[one] for one in sorted(found, key=lambda one: (one[1], one[0]))],
            unreadable=tuple(dict.fromkeys(unreadable)),
        )

    def erase(self) -> CustomerErasure:
        """As the customer's handle's."""
        store, archive, unreadable = self._store, self._store._ended, list[str]()
        links = store.customer(self._id).conversations(_ALL, fresh=True)
        erased = []
        for conversation_id, key in self._held(unreadable):
            if store.conversation(conversation_id)._ending.erase(self._id):
                erased.append(conversation_id)
            self._record.ask(session_calls.forget_attempts(_keys.attempts_key(key)))
        archived = 0
        if archive is not None:
            linked = dict.fromkeys(link.id for link in links)
            # Counted before a sweeper hears of it, which takes them out as well.
            ids, archived = archive.run(lambda opened: ids_of(opened, self._id, linked))
            self._bar(ids, linked, erased)
            archive.run(lambda opened: forget_all(opened, self._id, linked))
        store.cache.invalidate_tag(customer_tag(self._id))
        # Last, as its list tells what there is to erase: where this fails half-way, it can be done again.
        existed = self._record.ask(customer_calls.erase(self._record.key))
        self._record.copies.forget(self._record.key)
        return CustomerErasure(self._id, existed, tuple(dict.fromkeys(erased)), archived, tuple(unreadable))

    def _bar(self, archived: Iterable[str], linked: Iterable[str], erased: list[str]) -> None:
        """See to it that no archived conversation comes back: somebody may be about to resume it, or just has."""
        for conversation_id in archived:
            key = _keys.conversation_key(self._prefix, conversation_id)
            # Else what is here is another life of it, and somebody else's.
            ours = self._may_be_ours if conversation_id in linked else self._is_ours
            if self._record.ask(lifetime.present(key)) and not ours(key):
                continue
            if self._store.conversation(conversation_id)._ending.erase(self._id):
                erased.append(conversation_id)

    def _held(self, unreadable: list[str]) -> Iterator[tuple[str, str]]:
        """The customer's conversations in the store, each with its key: the linked ones, and those in the index.

        Args:
            unreadable: gets the ids of those of which it cannot be told whose they are, and that are not linked.
        """
        links = self._store.customer(self._id).conversations(_ALL, fresh=True)
        linked = dict.fromkeys(link.id for link in links)
        for conversation_id in linked:
            key = _keys.conversation_key(self._prefix, conversation_id)
            # Of what has left there is nothing here to erase; of what was deleted its tool calls may be.
            if self._record.ask(lifetime.remains(key)) and self._may_be_ours(key):
                yield conversation_id, key
        for part in range(_keys.DUE_PARTS if self._store._life is not None else 0):
            for conversation_id in self._record.ask(due.all_in(self._prefix, part)):
                if conversation_id in linked:
                    continue
                key = _keys.conversation_key(self._prefix, conversation_id)
                try:
                    if self._whose(key) == self._id:
                        yield conversation_id, key
                except DataError:
                    unreadable.append(conversation_id)

    def _is_ours(self, key: str) -> bool:
        """Whether a conversation is known to be the customer's."""
        try:
            return self._whose(key) == self._id
        except DataError:
            return False

    def _may_be_ours(self, key: str) -> bool:
        """Whether a linked conversation is not known to be another's."""
        try:
            return self._whose(key) in (None, self._id)
        except DataError:
            return True

    def _whose(self, key: str) -> str | None:
        return customer_of(self._record.codec, key, *self._record.ask(lifetime.customer_of(key)))
