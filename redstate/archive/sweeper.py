"""Ends abandoned conversations, and takes those that have ended from the store to the archive.

The way of one conversation: it is due in the index; an archiver takes it for the time of a lease; its record tells what
is to be done, and is closed; its customer's profile gets what is to be kept; a row is written to the archive and
committed; the record goes if it still is that version; the index forgets it. Each step can be done again without harm,
and none is begun before the one before it is through. So whoever dies on the way leaves everything to the next, who
begins at the first step once the lease has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from redstate import AsyncStore, _keys
from redstate._async.ending import merge_leniently
from redstate._call import Query
from redstate._jitter import between
from redstate._replies import ReplyError, query_error
from redstate.archive.batch import Batch
from redstate.archive.conversation import ended_conversation
from redstate.archive.figures import SweepFigures
from redstate.archive.interface import ArchiveRow
from redstate.archive.queries import check_row
from redstate.archive.rows import row_of
from redstate.archive.threads import ArchiveThread, LoopArchive
from redstate.calls import due, lifetime
from redstate.calls import record as record_calls
from redstate.calls.customer import Span
from redstate.calls.due import DONE, Claimed
from redstate.calls.lifetime import Look
from redstate.calls.record import DELETED_WINDOW_MS
from redstate.errors import (
    ArchiveError,
    CallTimeout,
    ConfigurationError,
    ConflictError,
    DataError,
    InvalidId,
    InvalidInput,
    RedstateError,
    StoreFull,
    TooLarge,
)
from redstate.transport.base import ReplyLost, pack_words

if TYPE_CHECKING:
    from redstate.archive.sql import SqlArchive

logger = logging.getLogger("redstate.archive")

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# What cannot be read is looked at again after so many seconds: somebody may have mended it.
_CORRUPT_AGAIN = 600.0


class Sweeper:
    """Archives the ended conversations of one store, and ends the abandoned ones. Any number may run side by side.

    Args:
        store: opened with ``archive=``; its ``idle``, ``tombstone_ttl`` and ``merge`` count. It is not closed.
        batch: how many conversations are taken, and archived in one transaction. The server takes and settles 200 of
            them in a third of a millisecond, for which its other clients wait.
        concurrency: how many conversations are read from the server in one go, for which its other clients wait; half
            as many are merged into profiles side by side. A quarter goes for scripts: taking a record out takes four
            times as long as reading it. ARCHITECTURE has what was measured (``python -m bench --only archive``).
        lease: seconds after which others may take what this one has taken and not seen to.
        poll: seconds between two looks where nothing is due.

    Attributes:
        figures: what it has done.

    Raises:
        ConfigurationError: the store has no archive.
    """

    def __init__(
        self, store: AsyncStore, *, batch: int = 200, concurrency: int = 16, lease: float = 60.0, poll: float = 0.5
    ) -> None:
        if store._ended is None:
            raise ConfigurationError("A sweeper needs a store with an archive", next_step="Open it with archive=...")
        self._store = store
        self._settings = store._settings
        self._prefix = store._settings.key_prefix
        # A thread of its own: calls that begin need not wait until a batch is written.
        self._archive = LoopArchive(ArchiveThread(store._ended.thread.archive, owned=False))
        self._ask = store._record("", ttl_ms=1, timeout=store._settings.timeout).ask
        self._batch, self._lease, self._poll = batch, lease, poll
        self._reads, self._scripts, self._merges = concurrency, max(1, concurrency // 4), max(1, concurrency // 2)
        self._stopping = asyncio.Event()
        self.figures = SweepFigures()

    async def run(self) -> None:
        """Sweep until ``stop`` is called. What fails is logged, and tried again."""
        pause = _FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                try:
                    await self.sweep()
                    wait, pause = between(self._poll / 2, self._poll), _FIRST_PAUSE
                except RedstateError as error:
                    logger.warning("archiving goes on in %.1f s: %s", pause, error, extra={"event": "archive_failed"})
                    wait, pause = between(pause / 2, pause), min(pause * 2, _LONGEST_PAUSE)
                await self._wait(wait)
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of the thread for the archive; ``run`` does so itself."""
        await self._archive.close()

    def stop(self) -> None:
        """Have ``run`` end after the batches that are under way."""
        self._stopping.set()

    async def sweep(self) -> int:
        """See to all that is due now. Returns how many conversations were archived.

        Raises:
            ArchiveError: the database could not do it; the conversations stay in the store.
            StoreError: the server could not do it.
        """
        before = self.figures.archived
        parts = list(range(_keys.DUE_PARTS))
        random.shuffle(parts)  # several of us do not want the same
        remaining = iter(parts)
        # One batch is read from the server while another is written to the database.
        ends = await asyncio.gather(*[self._lane(remaining) for _ in range(2)], return_exceptions=True)
        failures = [end for end in ends if end is not None]
        if failures:
            self.figures.failures += 1
            raise failures[0]
        return self.figures.archived - before

    async def _lane(self, parts: Iterable[int]) -> None:
        for part in parts:
            while not self._stopping.is_set():
                until = time.monotonic() + self._lease / 2
                claimed = await self._ask(due.claim(self._prefix, part, self._lease, self._batch))
                if claimed.conversations:
                    await self._see_to(claimed, until)
                if len(claimed.conversations) < self._batch:
                    break

    async def _see_to(self, claimed: Claimed, until: float) -> None:
        batch = Batch(claimed, until, str(claimed.lease_end - round(self._lease * 1_000_000)))
        try:
            await self._look_at_all(batch)
            await self._each(functools.partial(self._merge, batch), batch.owed)
            await self._archive_all(batch)
        except RedstateError:
            # What failed may pass sooner than the lease does; if this fails too, that sees to it.
            words = [(batch.at_once, one) for one in claimed.conversations]
            with contextlib.suppress(RedstateError):
                await self._ask(due.settle(self._prefix, claimed, words))
            raise
        if batch.words:
            words = [(word, conversation_id) for conversation_id, word in batch.words.items()]
            await self._ask(due.settle(self._prefix, claimed, words))

    async def _look_at_all(self, batch: Batch) -> None:
        for conversation_id in batch.claimed.conversations:
            if not _keys.is_id(conversation_id):
                self._corrupt(batch, conversation_id, InvalidId("The index holds what can name no conversation"))
        for some in _portions([one for one in batch.claimed.conversations if one not in batch.words], self._reads):
            self.figures.looked_at += len(some)
            # Nearly all that is due has ended, which shows in what was read; only of the others a script, which takes
            # longer than reading does, has to tell what is due, and to end what is abandoned.
            closed: list[str] = []
            for others in _portions(await self._take_ended(batch, some), self._scripts):
                closed += await self._ask_what_is_due(batch, others)
            # What is open again was resumed in between.
            for conversation_id in await self._take_ended(batch, closed):
                batch.words[conversation_id] = batch.at_once

    async def _take_ended(self, batch: Batch, conversations: Sequence[str]) -> list[str]:
        """Read conversations, and take those that have ended. Returns the others."""
        if not conversations:
            return []
        replies = await self._ask_all([record_calls.fields(self._key(one)) for one in conversations])
        others = []
        for conversation_id, fields in zip(conversations, replies, strict=True):
            if isinstance(fields, DataError):
                self._corrupt(batch, conversation_id, fields)
            elif not lifetime.is_ended(fields):
                others.append(conversation_id)
            else:
                self._take(batch, conversation_id, fields)
                if b"D" in fields:
                    batch.purges[conversation_id] = Look("take", batch.claimed_us, fields)
        return others

    async def _ask_what_is_due(self, batch: Batch, conversations: Sequence[str]) -> list[str]:
        """Note what is due of conversations. Returns those to be taken, which have ended now."""
        idle, closed = self._settings.longest_idle, []
        looks = await self._ask_all([lifetime.collect(self._key(one), idle) for one in conversations])
        for conversation_id, look in zip(conversations, looks, strict=True):
            if isinstance(look, DataError):
                self._corrupt(batch, conversation_id, look)
            elif look.verdict == "take":
                closed.append(conversation_id)
            else:
                if look.verdict in ("later", "gone"):
                    batch.words[conversation_id] = str(look.when) if look.verdict == "later" else DONE
                if look.verdict == "erased" or b"D" in look.fields:
                    batch.purges[conversation_id] = look
        return closed

    def _take(self, batch: Batch, conversation_id: str, fields: dict[bytes, bytes]) -> None:
        key = self._key(conversation_id)
        try:
            row = row_of(self._store._codec, conversation_id, key, fields)
            check_row(row)
            # What whoever ended it has not put into the customer's profile.
            if row.customer_id and b"m" not in fields:
                batch.owed.append((row, lifetime.span_of(key, fields)))
        except (DataError, InvalidInput) as error:
            self._corrupt(batch, conversation_id, error)
            return
        batch.rows[conversation_id] = row

    def _corrupt(self, batch: Batch, conversation_id: str, error: RedstateError) -> None:
        """Nothing is skipped and nothing overwritten: it stays until somebody has seen to it."""
        self.figures.corrupt += 1
        logger.error(
            "conversation %r cannot be archived, and stays: %s",
            conversation_id,
            error,
            extra={"event": "archive_corrupt", "conversation_id": conversation_id},
        )
        batch.words[conversation_id] = str(batch.claimed.lease_end + round(_CORRUPT_AGAIN * 1_000_000))

    async def _merge(self, batch: Batch, owed: tuple[ArchiveRow, Span]) -> None:
        """Put into a customer's profile what whoever ended the conversation has not."""
        row, span = owed
        _check_in_time(batch.until)
        try:
            await self._merge_one(row, span)
        except TooLarge as error:
            # The profile is full, and may be for ever.
            logger.error("conversation %r is archived and merged into no profile: %s", row.conversation_id, error)
        except (StoreFull, ConflictError):
            # It stays until others have made room, or left the customer alone for a moment.
            self.figures.failures += 1
            del batch.rows[row.conversation_id]
        except (DataError, InvalidInput) as error:
            # The conversation, or its customer, cannot be read; others must not wait for that.
            self._corrupt(batch, row.conversation_id, error)
            del batch.rows[row.conversation_id]

    async def _merge_one(self, row: ArchiveRow, span: Span) -> None:
        assert row.customer_id is not None
        customer, merge, ended = self._store.customer(row.customer_id), self._settings.merge, None
        if merge is not None:
            ended = ended_conversation(self._store._codec, self._key(row.conversation_id), row)
        await merge_leniently(customer, row.conversation_id, span, ended, merge)

    async def _archive_all(self, batch: Batch) -> None:
        rows = list(batch.rows.values())
        if rows:
            await self._archive.run(lambda archive: self._put(archive, rows, batch.until))
        # What was deleted before a new life that leaves now: once it has left, nothing here tells of that.
        for conversation_id in [one for one, look in batch.purges.items() if look.verdict == "take"]:
            await self._purge(batch, conversation_id, batch.purges.pop(conversation_id))
        window = self._settings.tombstone_ttl
        for some in _portions([row for row in rows if row.conversation_id not in batch.words], self._scripts):
            calls = [lifetime.archived(self._key(row.conversation_id), row.version, window) for row in some]
            for row, removed in zip(some, await self._ask_all(calls), strict=True):
                if removed is True:
                    batch.words[row.conversation_id] = DONE
                    self.figures.archived += 1
                    self.figures.abandoned += row.reason == "abandoned"
                else:
                    await self._look_again(batch, row)
        for conversation_id, look in batch.purges.items():
            await self._purge(batch, conversation_id, look)

    async def _look_again(self, batch: Batch, row: ArchiveRow) -> None:
        """See to a conversation that did not leave: it was resumed, another archiver was quicker, or it was erased.

        That one may have been forgotten since its row was put back here, so nobody else would look for it.
        """
        batch.words[row.conversation_id] = batch.at_once
        (look,) = await self._ask_all([lifetime.collect(self._key(row.conversation_id), self._settings.longest_idle)])
        if isinstance(look, Look) and (look.verdict == "erased" or b"D" in look.fields):
            batch.purges[row.conversation_id] = look

    async def _purge(self, batch: Batch, conversation_id: str, look: Look) -> None:
        """Clear the archive of what was erased or deleted; what is left of it in the store may expire in the end.

        Not before a lease is over since then: another archiver may have its row in hand, and die when it has put it.
        """
        key = self._key(conversation_id)
        try:
            purge = lifetime.purge_of(key, look)
            assert purge is not None
            await self._archive.run(lambda archive: archive.purge(conversation_id, purge))
        except (DataError, InvalidInput) as error:
            self._corrupt(batch, conversation_id, error)
            return
        if look.verdict == "take":
            # What an archiver of before has in hand is of the same life, which a higher version of is there by now.
            return
        again = purge.at_us + round(self._lease * 1_000_000)
        if batch.claimed_us < again:
            word = again if look.verdict != "later" else min(again, look.when)
        else:
            window_ms = DELETED_WINDOW_MS if purge.deleted else round(self._settings.tombstone_ttl * 1000)
            await self._ask(lifetime.forgotten(key, purge.version, window_ms))
            self.figures.erased += 1
            # What was deleted may be begun anew, and must be in the index then.
            word = batch.claimed_us if purge.deleted else 0
        batch.words[conversation_id] = str(word) if word else DONE

    def _put(self, archive: SqlArchive, rows: list[ArchiveRow], until: float) -> None:
        _check_in_time(until)
        archive.put(rows, lambda: _check_in_time(until))

    async def _ask_all(self, calls: list[Query[Any]]) -> list[Any]:
        """The results of calls, sent in one go; of one whose record cannot be read, the error.

        If they run a script, all run that of the first.
        """
        timeout = self._settings.timeout
        try:
            replies = await self._store._transport.call_all(
                [pack_words(one.words) for one in calls], timeout, calls[0].script
            )
        except ReplyLost:
            raise CallTimeout(f"A call was not answered within {timeout:g} s") from None
        return [_result(call, reply) for call, reply in zip(calls, replies, strict=True)]

    async def _each(self, work: Callable[[Any], Any], items: list[Any]) -> None:
        """Do work on each item, so many at a time."""
        remaining = iter(items)

        async def some() -> None:
            for item in remaining:
                await work(item)

        tasks = [asyncio.create_task(some()) for _ in range(min(self._merges, len(items)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _key(self, conversation_id: str) -> str:
        return _keys.conversation_key(self._prefix, conversation_id)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _check_in_time(until: float) -> None:
    """Whoever stood still may come with what was erased long since."""
    if time.monotonic() > until:
        raise ArchiveError("A batch took longer than half its lease, and begins anew", path="", reason="late")


def _portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _result(call: Query[Any], reply: Any) -> Any:
    try:
        if type(reply) is ReplyError:
            raise query_error(reply, call)
        return call.parse(reply)
    except DataError as error:
        return error
