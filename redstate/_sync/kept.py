# Generated from redstate/_async/kept.py by tools/generate_sync.py. Do not edit: edit that file.
"""The record of a conversation that is kept until it is archived."""

from __future__ import annotations

from typing import Any, TypeVar

from redstate._call import Mutation
from redstate._sync.lifetime import Lifetime
from redstate._sync.record import Record
from redstate.calls.record import KEPT
from redstate.errors import ConversationAbsent, ConversationEnded

T = TypeVar("T")


class KeptRecord(Record):
    """A record without an expiry, which its first change begins.

    Args:
        life: of the store.
        conversation_id, key, customer_id: the conversation; customer_id is "" where that is not known.
        options: as of :class:`AsyncRecord`.
    """

    __slots__ = ("conversation_id", "customer_id", "life")

    def __init__(self, life: Lifetime, conversation_id: str, key: str, customer_id: str, **options: Any) -> None:
        super().__init__(key, ttl_ms=KEPT, **options)
        self.life = life
        self.conversation_id = conversation_id
        self.customer_id = customer_id

    def begin(self) -> bool:
        """As :meth:`AsyncLifetime.begin`."""
        return self.life.begin(self.conversation_id, self.key, self.customer_id)

    def apply(
        self,
        call: Mutation[T],
        op_id: str | None = None,
        expected_version: int | None = None,
        ttl_ms: int | None = None,
    ) -> T:
        """Change the record, at most once; it is begun first if need be.

        Raises:
            ConversationEnded: the conversation has ended, or lies in the archive.
        """
        while True:
            if not self.life.knows(self.conversation_id, self.customer_id):
                # In the index it is put off by beginning; a late write shall not do that.
                self.life.find(self.conversation_id, self.key, self.customer_id)
            try:
                return self.apply_to_begun(call, op_id, expected_version, ttl_ms)
            except ConversationAbsent:
                # It left the store since this process saw it. Nothing was written, so it is a new attempt.
                continue

    def apply_to_begun(
        self,
        call: Mutation[T],
        op_id: str | None = None,
        expected_version: int | None = None,
        ttl_ms: int | None = None,
    ) -> T:
        """Change the record if there is one.

        Raises:
            ConversationAbsent: there is none.
            ConversationEnded: the conversation has ended.
        """
        try:
            return super().apply(call, op_id, expected_version, ttl_ms)
        except (ConversationAbsent, ConversationEnded):
            self.life.forget(self.conversation_id)
            raise
