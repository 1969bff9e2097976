# Generated from redstate/_async/dossier.py by tools/generate_sync.py. Do not edit: edit that file.
"""All that is stored of one customer, wherever it lies: to hand it out, or to erase it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from redstate import _keys
from redstate._sync.record import Record
from redstate.archive.conversation import EndedConversation, ended_conversation
from redstate.archive.dossier import CustomerErasure, CustomerExport, customer_tag, forget_linked
from redstate.archive.rows import customer_of, row_of
from redstate.calls import due, lifetime
from redstate.calls import session as session_calls

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
        if archive is not None:
            for row in archive.run(lambda opened: list(opened.rows(customer_id=self._id))):
                key = _keys.conversation_key(self._prefix, row.conversation_id)
                found[row.conversation_id, row.created_us] = ended_conversation(codec, key, row)
        for conversation_id, key in self._held():
            fields = self._record.ask(lifetime.fields(key))
            if b"v" in fields and fields.get(b"d") != fields[b"v"]:
                row = row_of(codec, conversation_id, key, fields)
                # What was resumed lies in both, and here is what it is now.
                found[conversation_id, row.created_us] = ended_conversation(codec, key, row)
        return CustomerExport(
            customer_id=self._id,
            profile=customer.all(fresh=True),
            history=customer.history(_ALL, fresh=True),
            links=customer.conversations(_ALL, fresh=True),
            conversations=[found[one] for one in sorted(found, key=lambda one: (one[1], one[0]))],
        )

    def erase(self) -> CustomerErasure:
        """As the customer's handle's."""
        store, archive = self._store, self._store._ended
        links = store.customer(self._id).conversations(_ALL, fresh=True)
        erased = []
        for conversation_id, key in self._held():
            if store.conversation(conversation_id)._ending.erase():
                erased.append(conversation_id)
            self._record.ask(session_calls.forget_attempts(_keys.attempts_key(key)))
        archived = 0
        if archive is not None:
            for link in links:
                forget = functools.partial(forget_linked, conversation_id=link.id, customer_id=self._id)
                archived += archive.run(forget)
            archived += archive.run(lambda opened: opened.delete_of(self._id))
        store.cache.invalidate_tag(customer_tag(self._id))
        # Last, as its list tells what there is to erase: where this fails half-way, it can be done again.
        existed = store.customer(self._id).delete()
        return CustomerErasure(self._id, existed, tuple(erased), archived)

    def _held(self) -> Iterator[tuple[str, str]]:
        """The customer's conversations in the store, each with its key: the linked ones, and those in the index."""
        links = self._store.customer(self._id).conversations(_ALL, fresh=True)
        linked = dict.fromkeys(link.id for link in links)
        for conversation_id in linked:
            key = _keys.conversation_key(self._prefix, conversation_id)
            # Of what has left there is nothing here to erase, and it may be restored one day.
            if self._record.ask(lifetime.present(key)) and self._whose(key) in (None, self._id):
                yield conversation_id, key
        for part in range(_keys.DUE_PARTS if self._store._life is not None else 0):
            for conversation_id in self._record.ask(due.all_in(self._prefix, part)):
                key = _keys.conversation_key(self._prefix, conversation_id)
                if conversation_id not in linked and self._whose(key) == self._id:
                    yield conversation_id, key

    def _whose(self, key: str) -> str | None:
        return customer_of(self._record.codec, key, *self._record.ask(lifetime.customer_of(key)))
