"""How a conversation ends, is merged into its customer's profile, and goes on later."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

from redstate._async.customer import AsyncCustomer
from redstate._async.kept import AsyncKeptRecord
from redstate._async.record import AsyncRecord
from redstate._scope import current, refuse_late
from redstate.archive.conversation import EndedConversation, Merge, ended_conversation
from redstate.archive.rows import fields_of, row_of, stated_customer
from redstate.archive.threads import LoopArchive
from redstate.calls import lifetime
from redstate.calls import record as record_calls
from redstate.calls.customer import Carry, Span
from redstate.errors import (
    ArchiveError,
    ConversationAbsent,
    ConversationEnded,
    DataError,
    Fenced,
    InvalidId,
    OutcomeUnknown,
    Rejected,
    StoreError,
)

logger = logging.getLogger("redstate")

_ATTEMPTS = 3


class AsyncEnding:
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
        record: AsyncRecord,
        customer_id: str | None,
        customers: functools.partial[AsyncCustomer],
        merge: Merge | None,
        archive: LoopArchive | None,
    ) -> None:
        self._id = conversation_id
        self._record = record
        self._customer_id = customer_id
        self._customers = customers
        self._merge = merge
        self._archive = archive

    async def start(self) -> bool:
        """As the handle's."""
        record = self._record
        return await record.begin() if isinstance(record, AsyncKeptRecord) else False

    async def end(self, reason: str, customer_id: str = "", *, lenient: bool = False) -> bool:
        """As the handle's.

        Args:
            reason: as there.
            customer_id: whose it is, where the handle was not told; "" where that is not known.
            lenient: whether a function that fails is logged, and its conversation merged without it.
        """
        record, customer_id = self._record, self._customer_id or customer_id
        try:
            if isinstance(record, AsyncKeptRecord):
                await record.life.adopt(self._id, record.key, customer_id)
                await record.apply_to_begun(lifetime.end(record.key, reason, customer_id))
            else:
                await record.apply(lifetime.end(record.key, reason, customer_id))
            ended = True
        except ConversationEnded:
            ended = False
        except ConversationAbsent:
            return False
        ended_us = await record.ask(lifetime.ended_at(record.key))
        if ended_us is not None:
            try:
                await self._follow_up(ended_us, lenient)
            except InvalidId as error:
                # It has ended all the same, as nobody's.
                logger.warning("conversation %r has ended and is merged into no profile: %s", self._id, error)
        return ended

    async def _follow_up(self, ended_us: int, lenient: bool) -> None:
        """Do what comes after the end, once however often it is tried: the merge, and the word to an archiver."""
        record = self._record
        if not isinstance(record, AsyncKeptRecord):
            await self.merge(ended_us, lenient=lenient)
            return
        try:
            if await self.merge(ended_us, lenient=lenient):
                await record.ask(lifetime.merged(record.key, ended_us))
        finally:
            # Also where the merge failed: an archiver tries again, or goes without.
            await record.life.due_at_once(self._id, record.life.deadline_after(ended_us))

    async def merge_early(self) -> str:
        """Merge a conversation that is about to end, as what comes before its end may clean it up.

        A function that fails is logged, and the conversation merged without it.

        Returns:
            Whose it is, which is noted in its record; "" for nobody's.

        Raises:
            InvalidId: its state's ``customer_id`` can be no customer's.
            RedstateError: the profile is full, or the store could not do it.
        """
        return await self.merge(lenient=True)

    async def merge(self, ended_us: int | None = None, *, lenient: bool = False) -> str:
        """Note the conversation in its customer's profile, once, as it is now. Returns whose it is; "" for nobody's.

        Args:
            ended_us: only as it ended then: somebody may have resumed it since. None for one that is about to end.
            lenient: as for ``end``.

        Raises:
            InvalidId: its state's ``customer_id`` can be no customer's.
            RedstateError: what ``merge`` made cannot be stored, or the store could not do it.
        """
        record, merge = self._record, self._merge
        key, codec = record.key, record.codec
        # Whose it is and what it holds, of one moment.
        fields = {} if merge is None else await record.ask(record_calls.fields(key))
        found = await record.ask(lifetime.belonging(key)) if merge is None else lifetime.belonging_of(key, fields)
        if found is None or (ended_us is not None and found.ended_us != ended_us):
            return ""
        customer_id = self._customer_id or stated_customer(codec, key, found.given, found.stated)
        if not customer_id:
            return ""
        if found.given is None and found.ended_us is None:
            # Before anything else: what comes next may take it out of the state, and be cut short.
            await record.ask(lifetime.begin(key, 0, customer_id))
        ended = None
        if merge is not None:
            if found.ended_us is None:
                now = await record.ask(record_calls.server_time(key))
                fields |= {b"x": b"%016d ended" % now}
            ended = ended_conversation(codec, key, row_of(codec, self._id, key, fields))
        customer = self._customers(customer_id)
        if lenient:
            await merge_leniently(customer, self._id, found.span, ended, merge)
        else:
            await customer._merge_span(self._id, found.span, carried(ended, merge))
        return customer_id

    async def delete(self, record: AsyncRecord, op_id: str | None, expected_version: int | None) -> bool:
        """As the handle's; ``record`` is that handle's, which may be guarded."""
        refuse_late(record.key)
        scope = current.get()
        token = None if scope is None else scope.fence(record.key)
        life = record.life if isinstance(record, AsyncKeptRecord) else None
        # By the clock of before: a word that comes late is no use.
        began_us = 0 if life is None else await record.ask(record_calls.server_time(record.key))
        try:
            call = record_calls.delete(record.key)
            existed = await record.apply(call, op_id, expected_version, record_calls.DELETED_WINDOW_MS)
        except ConversationEnded:
            if expected_version is not None or record.guarded:
                raise
            return await self.erase(token=token)
        if life is not None:
            # What was resumed is in the archive, too.
            await life.due_at_once(self._id, life.deadline_after(began_us))
        return existed

    async def erase(self, customer_id: str = "", token: int | None = None) -> bool:
        """Take it out of the store, and have an archiver take it out of the archive. Returns whether it was here.

        Args:
            customer_id: whose it is, if what is another's shall stay in the archive.
            token: of the owner that wants it.

        Raises:
            Fenced: there is a newer owner.
        """
        record = self._record
        life = record.life if isinstance(record, AsyncKeptRecord) else None

        async def erased(deadline: int) -> int | bool:
            verdict = await record.ask(lifetime.erase(record.key, deadline, customer_id, token))
            if life is not None:
                await life.due_at_once(self._id, deadline)
            return verdict

        verdict: int | bool = await erased(0) if life is None else await life.registered(self._id, erased, anyhow=True)
        record.copies.forget(record.key)
        if type(verdict) is int:
            raise Fenced(f"{record.key} has a newer owner", key=record.key, current_token=verdict)
        return bool(verdict)

    async def resume(self) -> bool:
        """As the handle's."""
        record = self._record
        life = record.life if isinstance(record, AsyncKeptRecord) else None
        # In the index before anything else: an archiver that is just through with it then lets it stand.
        resumed: bool = await self._reopen(0) if life is None else await life.registered(self._id, self._reopen)
        if resumed and life is not None:
            # Once more: an archiver may have been through with what was there before it was put back.
            await life.register(self._id)
            life.remember(self._id, "")
        return resumed

    async def _reopen(self, deadline: int) -> bool:
        """Let it go on, wherever it lies. Returns whether there is one."""
        record = self._record
        verdict = await record.ask(lifetime.reopen(record.key, record.ttl_ms))
        record.copies.forget(record.key)
        if verdict in ("reopened", "open"):
            return True
        return verdict not in ("erased", "deleted") and deadline != 0 and await self._restore(deadline)

    async def _restore(self, deadline: int) -> bool:
        record = self._record
        for _ in range(_ATTEMPTS):
            row: Any = None
            if self._archive is not None:
                row = await self._archive.run(lambda archive: archive.find(self._id))
            if row is None:
                return False
            call = lifetime.restore(record.key, record.ttl_ms, deadline, row.version, fields_of(row))
            verdict = await record.ask(call)
            record.copies.forget(record.key)
            if verdict != "stale":
                return verdict in ("restored", "open")
        raise ArchiveError("The archive has an older version than it took", path="", reason="older")


async def merge_leniently(
    customer: AsyncCustomer, conversation_id: str, span: Span, ended: EndedConversation | None, merge: Merge | None
) -> None:
    """Merge a part of a conversation's life; where the store's function fails, without it.

    It is the user's, and must keep no conversation for ever. What it raised may quote the conversation: its text is for
    who asks for it.

    Raises:
        RedstateError: the store could not do it, the customer cannot be read, or the profile is full.
    """
    if merge is not None:
        try:
            await customer._merge_span(conversation_id, span, carried(ended, _set_apart(merge)))
            return
        except (StoreError, DataError, Rejected, OutcomeUnknown):
            raise
        except Exception as error:
            logger.error(
                "merge failed for conversation %r with %s; the profile gets no more than its end",
                conversation_id,
                type(error.__cause__ or error).__name__,
                exc_info=logger.isEnabledFor(logging.DEBUG),
            )
    await customer._merge_span(conversation_id, span, None)


class _MergeFailed(Exception):
    """The store's function raised; its cause is what. That may be an error of redstate too, of a store of its own."""


def _set_apart(merge: Merge) -> Merge:
    def guarded(ended: EndedConversation, profile: dict[str, Any]) -> Any:
        try:
            return merge(ended, profile)
        except Exception as error:
            raise _MergeFailed from error

    return guarded


def carried(ended: EndedConversation | None, merge: Merge | None) -> Carry | None:
    """What a customer's profile gets of an ended conversation.

    Args:
        ended: the conversation, for ``merge``; without it nothing is carried over.
        merge: makes what is carried over.
    """
    if merge is None or ended is None:
        return None
    return lambda profile, merged_at: merge(dataclasses.replace(ended, merged_at=merged_at), profile)
