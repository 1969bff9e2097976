# Generated from redstate/_async/customer.py by tools/generate_sync.py. Do not edit: edit that file.
"""One customer, as a process holds it: what is known of a person beyond a single conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from redstate._call import Mutation
from redstate._sync.contention import Contention
from redstate._sync.dossier import Dossier
from redstate._sync.record import Record
from redstate._sync.sealed import reencrypt
from redstate._sync.state import State
from redstate._sync.watches import Watches
from redstate.archive.dossier import CustomerErasure, CustomerExport
from redstate.calls import customer as customer_calls
from redstate.calls import record as record_calls
from redstate.calls import state as state_calls
from redstate.calls.cache import PLAIN
from redstate.calls.customer import (
    Carry,
    CustomerChange,
    CustomerConversation,
    CustomerEvent,
    CustomerWatch,
    Span,
    Updates,
    WholeCustomer,
)
from redstate.errors import ConflictError


class Customer:
    """A handle of a customer; cheap, and free of I/O until it is used. Obtained as ``store.customer(id)``.

    A customer is shared by all its conversations, in all processes, and lives longer than they do: 90 days after its
    last change, unless the store or the handle says otherwise.

    A customer is *not* atomic with conversations. Each is a record of its own, and there is no change of both: a
    process that dies between the two leaves one changed and the other not. What belongs together goes into one of
    them; ``merge_conversation`` carries over what is left at the end, once, and can be repeated until it succeeds.

    Arguments and errors of changes are those of :class:`AsyncState`.

    Attributes:
        id: as given.
        key: the Redis key of its record.
        state: its fields.
    """

    __slots__ = ("_dossier", "_record", "_watches", "id", "key", "state")

    def __init__(self, customer_id: str, record: Record, watches: Watches, dossier: Dossier) -> None:
        self.id = customer_id
        self._dossier = dossier
        self.key = record.key
        self._record = record
        self._watches = watches
        self.state = State(record)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"

    # Fields

    def get(self, field: str, default: Any = None, *, fresh: bool = False, min_version: int | None = None) -> Any:
        """The value of a field, or ``default``; as ``state.get``."""
        return self.state.get(field, default, fresh=fresh, min_version=min_version)

    def all(self, *, fresh: bool = False, min_version: int | None = None) -> dict[str, Any]:
        """Every field in the order in which they came, of one version, as plain data; as ``state.all``."""
        return self.state.all(fresh=fresh, min_version=min_version)

    def update(
        self,
        values: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        /,
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
        **fields: Any,
    ) -> int:
        """Set several fields, all or none. Returns the customer's new version.

        Args:
            values: fields by name, also such as are no Python names.
            fields: further ones, as keywords.
        """
        return self.state.update(values, op_id=op_id, expected_version=expected_version, **fields)

    def increment(
        self, field: str, by: int = 1, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Add a whole number to a field; an absent one counts as 0. Returns the new value."""
        return self.state.increment(field, by, op_id=op_id, expected_version=expected_version)

    def append(
        self,
        field: str,
        item: Any,
        cap: int | None = None,
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Append an item to a list; an absent one counts as empty. Returns the customer's new version.

        Args:
            field: which.
            item: what.
            cap: how many items are kept, the newest ones; all by default.

        Raises:
            WrongType: the field holds no list.
            TooLarge: the list would exceed the cap on a value's bytes.
            ConflictError: with a cap, others changed the field first for as long as a call may take.
        """
        if cap is None:
            return self.state.append(field, item, op_id=op_id, expected_version=expected_version)
        record = self._record
        contention = Contention(record.key, record.timeout)
        while contention.another():
            raw = record.read(state_calls.fetch(record.key, field), fresh=True)
            call = customer_calls.append_capped(record.codec, record.key, field, item, cap, raw)
            try:
                return record.apply(call, op_id, expected_version)
            except ConflictError as conflict:
                if conflict.field is None:
                    raise
        raise AssertionError("another() ends by raising")

    # Conversations

    def link(self, conversation_id: str) -> bool:
        """Put a conversation on the customer's list. Returns whether it was not there yet.

        Nothing is linked by itself: neither obtaining a handle nor changing a conversation does it. Merging one that
        is not on the list puts it there.

        Raises:
            InvalidId: the id cannot name a conversation.
        """
        record = self._record
        return self._judged(lambda seen, now: customer_calls.link(record.codec, record.key, conversation_id, seen, now))

    def conversations(self, limit: int = 20, *, fresh: bool = False) -> list[CustomerConversation]:
        """The customer's conversations, the one that was linked last first.

        Args:
            limit: how many. The last 1,000 are kept, or as many as fit 128 KiB (which takes ids of over 90 bytes).
            fresh: as for ``get``.
        """
        return self._record.read(customer_calls.conversations(self.key, limit), fresh=fresh)

    def merge_conversation(self, conversation_id: str, updates: Updates | None = None) -> bool:
        """Mark a conversation as ended; once, whoever else attempts it and however late.

        It sets ``last_conversation`` (its id) and ``last_interaction`` (a ``datetime``: the server's time, UTC) in the
        profile, and marks the conversation as ended on the list of conversations. Nothing of the conversation's own
        state is copied: ``updates`` says what is carried over. All is one change, on the condition that there is no
        such mark. The mark lasts as long as the customer and its place on the list do:
        once 1,000 later ones were linked, the conversation is forgotten, and merging it again would do so anew.

        Args:
            conversation_id: which; it need not be linked, or exist any more.
            updates: what is carried over: fields of the profile to set, or a function that makes them of the profile
                (all fields, a dict of its own). Where another writer comes first it is called again with the newest
                profile, so it should do nothing else.

        Returns:
            Whether it was this call that merged; False where that has happened before. After ``OutcomeUnknown`` just
            repeat it: False then means that it has taken effect.

        Raises:
            InvalidId: the id cannot name a conversation.
            InvalidField: the function returned no mapping.
            ConflictError: others came first for as long as a call may take.
        """
        record = self._record
        return self._judged(
            lambda seen, now: customer_calls.merge(record.codec, record.key, conversation_id, updates, seen, now),
            # A function may have looked at any field.
            on_whole=callable(updates),
        )

    def _merge_span(self, conversation_id: str, span: Span, carry: Carry | None) -> bool:
        """Merge a part of a conversation's life, once. Returns whether it was this call that did it.

        Args:
            conversation_id: which.
            span: the part; what was in use before the customer was erased is not merged any more.
            carry: makes what is carried over.
        """
        record = self._record
        return self._judged(
            lambda seen, now: customer_calls.merge_span(
                record.codec, record.key, conversation_id, span, carry, seen, now
            ),
            on_whole=carry is not None,
        )

    # History

    def add_history(self, event: str, /, *, op_id: str | None = None, **data: Any) -> int:
        """Note that something happened, with the server's time. Returns the customer's new version.

        The last 200 events are kept, or as many as fit 64 KiB; at least the newest.

        Args:
            event: what, 1 to 256 characters.
            op_id: as in the state.
            data: further facts, by name.
        """
        record = self._record
        return record.apply(customer_calls.note(record.codec, record.key, event, data), op_id)

    def history(self, limit: int = 20, *, fresh: bool = False) -> list[CustomerEvent]:
        """The last events, newest first.

        Args:
            limit: how many.
            fresh: as for ``get``.

        Raises:
            CorruptState: the history holds bytes that redstate did not write.
        """
        return self._record.read(customer_calls.history(self._record.codec, self.key, limit), fresh=fresh)

    # In step with other processes

    def on_change(self, callback: Callable[[CustomerChange], Any]) -> CustomerWatch:
        """Have a function called with every change of the customer, by whatever process, this one included.

        Where several changes come in quick succession it may be told of them as one, and it is called for one change
        after the other. A change is told of within milliseconds, and within the store's ``max_staleness`` (3 s where
        that is 0) if the message was lost. What the function raises is logged, and ends nothing. A watched customer is
        fetched when it changes, so the next read of it is from memory.

        Args:
            callback: takes a :class:`redstate.CustomerChange`. An AsyncStore, which also takes a
                coroutine function, calls it in its event loop; a Store in a thread that all its watches share. Keep it
                short.

        Returns:
            the watch; ``close()`` ends it, as the end of the store does. A forked child has none.

        Raises:
            InvalidInput: it is no function, or a coroutine function in a Store.
        """
        customer_calls.checked_callback(callback, PLAIN)
        return self._watches.add(self._record, self.id, callback)

    # The whole

    def context(self, limit: int = 10, *, fresh: bool = False) -> dict[str, Any]:
        """What an agent should know at the beginning: the profile and the last conversations, of one version.

        Args:
            limit: how many conversations.
            fresh: as for ``get``.

        Returns:
            Every field by its name, and under ``conversations`` a list of dicts with ``id``, ``linked_at`` and
            ``ended_at``, newest first; a field of the customer's own that has that name stands in its place. A
            customer of whom nothing is known has an empty list only.
        """
        customer_calls.checked_limit(limit)
        record = self._record
        seen = record.read(customer_calls.whole(record.key), fresh=fresh)
        return customer_calls.context(record.codec, record.key, seen, limit)

    def export(self) -> CustomerExport:
        """All that is stored of the customer: the profile, its history, and every conversation in store and archive.

        Conversations are found by the customer's list, by the ``customer_id`` that they were begun or ended with or
        have in their state, and in the archive. (Those of a store without an archive are found by the list only.)

        Returns:
            what there is; its ``unreadable`` names conversations that cannot be read in this process.

        Raises:
            ArchiveError: the archive's database could not be asked.
            DataError: the customer's own record cannot be read.
        """
        return self._dossier.export()

    def erase(self) -> CustomerErasure:
        """Erase all of it, for good: what ``export`` finds, in the store, in every process's memory and in the archive.

        Conversations that are going on end by it (``ConversationEnded``), and nothing that is under way brings any of
        it back: no archiver, merge, return, or repeat of an earlier change. Cached values that carry the tag
        ``customer:<id>`` are dropped; of what else was cached, or copied elsewhere, nothing is known here. What remains
        for ten minutes are versions and numbers of operations, without a value; of a conversation, its id and the
        customer's: until a sweeper has seen to the archive, a minute later once more, and for ``tombstone_ttl`` from
        then on. That id is refused changes so long; without an archive for ten minutes. What is said of the customer
        after that, or while this runs, is stored anew. Where it fails it can be called again.

        Returns:
            what was there; its ``unreadable`` names conversations of which it cannot be told whose they are.

        Raises:
            ArchiveError: the archive's database could not be asked; what was in the store may be gone by then.
            DataError: the customer's own list of conversations cannot be read; nothing was erased.
        """
        return self._dossier.erase()

    def version(self) -> int:
        """The version of its last change, which only rises; 0 where it does not exist."""
        return self._record.read(record_calls.version(self.key), fresh=True)

    def exists(self) -> bool:
        """Whether there is anything of it in the store."""
        return self.version() != 0

    def ttl(self) -> float | None:
        """Seconds until it expires; None where it does not exist."""
        return self._record.ask(record_calls.remaining(self.key))

    def reencrypt(self) -> int:
        """Write every value of it that is not as the store encrypts now under the current key; one change, or none.

        For values under an older key before that is taken away, and for those from before the store encrypted. Like
        any change it gives the customer a new version, and its full ``ttl``.

        Returns:
            how many values were written.

        Raises:
            UnknownEncryptionKey: a value is under a key that the store lacks; nothing was written.
            ConfigurationError: the store has no ``encryption``, or the running code is in a transaction.
        """
        return reencrypt(self._record)

    def delete(self, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Forget the customer: fields, conversations, marks and history. Returns whether it existed.

        Its conversations stay. Version and journals stay for ten minutes, as those of a deleted conversation do.
        """
        call = record_calls.delete(self.key)
        return self._record.apply(call, op_id, expected_version, record_calls.DELETED_WINDOW_MS)

    def _judged(self, judge: Callable[[WholeCustomer, int], Mutation[int] | None], *, on_whole: bool = False) -> bool:
        """Make the change that ``judge`` makes of the newest record; again where another writer came first.

        Args:
            judge: called with the record and the server's time; returns None where nothing is to be done.
            on_whole: whether any change of the record meanwhile counts, and not only one of what the change expects.

        Returns:
            Whether there was something to do.
        """
        record = self._record
        contention = Contention(record.key, record.timeout)
        while contention.another():
            now = record.ask(record_calls.server_time(record.key))
            seen = record.read(customer_calls.whole(record.key), fresh=True)
            call = judge(seen, now)
            if call is None:
                record.nothing_to_do()
                return False
            try:
                record.apply(call, expected_version=seen.snapshot.version if on_whole else None)
            except ConflictError:
                continue
            return True
        raise AssertionError("another() ends by raising")
