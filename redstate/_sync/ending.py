# Generated from redstate/_async/ending.py by tools/generate_sync.py. Do not edit: edit that file.
"""How a conversation ends, is merged into its customer's profile, and goes on later."""

from __future__ import annotations

import functools
import logging
from typing import Any

from redstate._sync.customer import Customer
from redstate._sync.kept import KeptRecord
from redstate._sync.record import Record
from redstate.archive.conversation import EndedConversation, Merge, ended_conversation
from redstate.archive.rows import fields_of, row_of, stated_customer
from redstate.archive.threads import ThreadArchive
from redstate.calls import lifetime
from redstate.errors import ArchiveError, ConversationAbsent, ConversationEnded, DeadlineExceeded, InvalidId

logger = logging.getLogger("redstate")

_ATTEMPTS = 3


class Ending:
    """The ending of one conversation, for its handle.

    Args:
        conversation_id: which.
        record: its record.
        customer_id: whose it is, as far as the handle was told.
        customers: makes the handle of a customer.
        merge: makes what goes into the profile; None for nothing beside what is always noted.
        archive: where it goes; None where there is none.
    """

    __slots__ = ("_archive", "_customer_id", "_customers", "_id", "_merge", "_record")

    def __init__(
        self,
        conversation_id: str,
        record: Record,
        customer_id: str | None,
        customers: functools.partial[Customer],
        merge: Merge | None,
        archive: ThreadArchive | None,
    ) -> None:
        self._id = conversation_id
        self._record = record
        self._customer_id = customer_id
        self._customers = customers
        self._merge = merge
        self._archive = archive

    def start(self) -> bool:
        """As the handle's."""
        record = self._record
        return record.begin() if isinstance(record, KeptRecord) else False

    def end(self, reason: str, customer_id: str = "") -> bool:
        """As the handle's.

        Args:
            reason: as there.
            customer_id: whose it is, where the handle was not told; "" where that is not known.
        """
        record = self._record
        try:
            apply = record.apply_to_begun if isinstance(record, KeptRecord) else record.apply
            apply(lifetime.end(record.key, reason, self._customer_id or customer_id))
            ended = True
        except ConversationEnded:
            ended = False
        except ConversationAbsent:
            return False
        ended_us = record.ask(lifetime.ended_at(record.key))
        if ended_us is not None:
            try:
                self._follow_up(ended_us)
            except InvalidId as error:
                # It has ended all the same, as nobody's.
                logger.warning("conversation %r has ended and is merged into no profile: %s", self._id, error)
        return ended

    def _follow_up(self, ended_us: int) -> None:
        """Do what comes after the end, once however often it is tried: the merge, and the word to an archiver."""
        record = self._record
        if not isinstance(record, KeptRecord):
            self.merge()
            return
        try:
            if self.merge():
                record.ask(lifetime.merged(record.key))
        finally:
            # Also where the merge failed: an archiver tries again, or goes without.
            record.life.due_at_once(self._id, ended_us)

    def merge(self) -> str | None:
        """Note the conversation in its customer's profile, once, as it is now. Returns whose it is.

        Raises:
            InvalidId: its state's ``customer_id`` can be no customer's.
            RedstateError: what ``merge`` made cannot be stored, or the store could not do it.
        """
        customer_id = self._whose()
        if customer_id:
            merge_into(self._customers(customer_id), self._id, self._snapshot(), self._merge)
        return customer_id

    def _whose(self) -> str | None:
        if self._customer_id:
            return self._customer_id
        record = self._record
        return stated_customer(record.codec, record.key, *record.ask(lifetime.customer_of(record.key)))

    def _snapshot(self) -> EndedConversation | None:
        """The conversation, if there is a function that looks at it."""
        record = self._record
        fields = {} if self._merge is None else record.ask(lifetime.fields(record.key))
        if b"v" not in fields:
            return None
        return ended_conversation(record.codec, record.key, row_of(record.codec, self._id, record.key, fields))

    def erase(self) -> bool:
        """Take it out of the store, and have an archiver take it out of the archive. Returns whether it was here."""
        record = self._record
        life = record.life if isinstance(record, KeptRecord) else None
        existed = record.ask(lifetime.erase(record.key, 0.0 if life is None else life.idle))
        record.copies.forget(record.key)
        if life is not None:
            life.due_at_once(self._id, record.ask(lifetime.server_time(record.key)))
        return existed

    def resume(self) -> bool:
        """As the handle's."""
        record = self._record
        life = record.life if isinstance(record, KeptRecord) else None
        for attempt in range(_ATTEMPTS):
            # In the index before anything else: an archiver that is just through with it then lets it stand.
            deadline = 0 if life is None else life.register(self._id)
            verdict = record.ask(lifetime.reopen(record.key, record.ttl_ms))
            record.copies.forget(record.key)
            if verdict in ("reopened", "open"):
                break
            if verdict == "erased" or not deadline:
                return False
            try:
                if not self._restore(deadline):
                    return False
                break
            except DeadlineExceeded:
                if attempt + 1 == _ATTEMPTS:
                    raise
        if life is not None:
            # Once more: an archiver may have been through with what was there before it was put back.
            life.register(self._id)
            life.remember(self._id, "")
        return True

    def _restore(self, deadline: int) -> bool:
        record = self._record
        for _ in range(_ATTEMPTS):
            row: Any = None
            if self._archive is not None:
                row = self._archive.run(lambda archive: archive.find(self._id))
            if row is None:
                return False
            call = lifetime.restore(record.key, record.ttl_ms, deadline, row.version, fields_of(row))
            verdict = record.ask(call)
            record.copies.forget(record.key)
            if verdict != "stale":
                return verdict != "erased"
        raise ArchiveError("The archive has an older version than it took", path="", reason="older")


def merge_into(customer: Customer, conversation_id: str, ended: EndedConversation | None, merge: Merge | None) -> bool:
    """Note an ended conversation in its customer's profile, once.

    Args:
        customer: whose it is.
        conversation_id: which.
        ended: the conversation, for ``merge``; without it nothing is carried over.
        merge: makes what is carried over.

    Returns:
        Whether it was this call that did it.
    """
    if merge is None or ended is None:
        return customer.merge_conversation(conversation_id)
    return customer.merge_conversation(conversation_id, functools.partial(merge, ended))
