# Generated from redstate/_async/conversation.py by tools/generate_sync.py. Do not edit: edit that file.
"""One conversation, as a process holds it."""

from __future__ import annotations

from redstate._sync.cart import Cart
from redstate._sync.record import Record
from redstate._sync.state import State
from redstate.calls import record as record_calls


class Conversation:
    """A handle of a conversation; cheap, and free of I/O until it is used. Obtained as ``store.conversation(id)``.

    Attributes:
        id: as given.
        key: the Redis key of its record.
        state: its fields.
        cart: its cart.
    """

    __slots__ = ("_record", "cart", "id", "key", "state")

    def __init__(self, conversation_id: str, record: Record) -> None:
        self.id = conversation_id
        self.key = record.key
        self._record = record
        self.state = State(record)
        self.cart = Cart(record)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"

    def version(self) -> int:
        """The version of its last change, which only rises; 0 where it does not exist."""
        return self._record.ask(record_calls.version(self.key))

    def exists(self) -> bool:
        """Whether there is anything of it in the store."""
        return self.version() != 0

    def ttl(self) -> float | None:
        """Seconds until it expires; None where it does not exist."""
        return self._record.ask(record_calls.remaining(self.key))

    def touch(self, ttl: float | None = None) -> bool:
        """Slide its expiry without a change. Returns whether it exists.

        Args:
            ttl: seconds from now; the handle's own expiry by default.

        Raises:
            InvalidTTL: no usable number of seconds.
        """
        ttl_ms = self._record.ttl_ms if ttl is None else record_calls.milliseconds(ttl)
        return self._record.ask(record_calls.touch(self.key, ttl_ms))

    def delete(self, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Delete it with all its state. Returns whether it existed.

        Its version and journals stay for ten minutes, so that a late repeat of an earlier change is still recognised
        and does not bring it back.
        """
        call = record_calls.delete(self.key)
        return self._record.apply(call, op_id, expected_version, record_calls.DELETED_WINDOW_MS)
