# Generated from redstate/_async/lifetime.py by tools/generate_sync.py. Do not edit: edit that file.
"""How a conversation of a store with an archive begins: in the index first, then in the store.

What is in the index is looked at until it has left for the archive. So nothing that is in the store may be in no index:
only a conversation that was registered there begins, and changes find a record or are refused.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from redstate._replies import ended
from redstate._sync.record import Record
from redstate.archive.threads import ThreadArchive
from redstate.calls import due, lifetime
from redstate.errors import ArchiveError, DeadlineExceeded

logger = logging.getLogger("redstate")

_REMEMBERED = 65_536
# How long the archive may take to say whether it has a conversation of that id, in seconds, and for how long it is not
# asked again where its database failed: calls go on without it.
_PATIENCE, _PAUSE = 0.5, 10.0
# Where it was only slow. A machine under load is slow for a moment, and what begins unseen may be another life of what
# lies there; so this pause is short. But one who is down can look like one who is slow, and each look costs a call the
# whole patience; so it doubles, up to the other, until an answer comes.
_SHORT_PAUSE = 1.0
# Of the first time, in which a driver is imported and a database opened; that alone can take half a second.
_FIRST_PATIENCE = 3.0
_ATTEMPTS = 3


class Lifetime:
    """Begins the conversations of one store.

    Args:
        prefix: the store's key prefix.
        idle: seconds of silence after which a conversation is looked at.
        tombstone_ttl: seconds for which an archived conversation leaves a tombstone.
        record: asks the server.
        archive: may hold conversations of earlier; its thread should have nothing to do that takes long.

    Attributes:
        idle: as given.
    """

    def __init__(self, prefix: str, idle: float, tombstone_ttl: float, record: Record, archive: ThreadArchive) -> None:
        self._prefix = prefix
        self.idle = idle
        self._within = due.begin_within(idle, tombstone_ttl)
        self._record = record
        self._archive = archive
        # Conversations that this process has begun, or found begun, in the order in which it did; with their customers.
        self._begun: dict[str, str] = {}
        self._asks_again = 0.0
        self._patience = _FIRST_PATIENCE
        self._late_pause = _SHORT_PAUSE

    def knows(self, conversation_id: str, customer_id: str) -> bool:
        """Whether this process has begun it, or found it begun, and said whose it is, if that is known."""
        said = self._begun.get(conversation_id)
        return said is not None and (not customer_id or said == customer_id)

    def forget(self, conversation_id: str) -> None:
        """It turned out to have ended, or to be gone."""
        self._begun.pop(conversation_id, None)

    def find(self, conversation_id: str, key: str, customer_id: str) -> None:
        """Begin a conversation if it is not there, as it probably is; the arguments are those of ``begin``."""
        verdict = self._record.ask(lifetime.begin(key, 0, customer_id))
        if verdict == "there":
            self.remember(conversation_id, customer_id)
        elif verdict != "ended":  # which the change finds out itself, unless it is a repeat that has its answer
            self.begin(conversation_id, key, customer_id)

    def adopt(self, conversation_id: str, key: str, customer_id: str) -> None:
        """Have one that was written without an archive so far be kept; the arguments are those of ``begin``."""
        known = self.knows(conversation_id, "")
        if not known and self._record.ask(lifetime.begin(key, 0, customer_id)) == "unkept":
            self.begin(conversation_id, key, customer_id)

    def begin(self, conversation_id: str, key: str, customer_id: str) -> bool:
        """Begin a conversation, unless it is there. Returns whether it was not.

        Args:
            conversation_id, key: its id, and its record.
            customer_id: whose it is; "" where that is not known.

        Raises:
            ConversationEnded: it has ended, or lies in the archive.
            DeadlineExceeded: the server, or this process, stood still for so long that it could not be done safely.
        """

        def begun(deadline: int) -> str:
            # One that was resumed is in the archive, and in the store as well.
            if self._is_archived(conversation_id):
                deadline = 0
            return self._record.ask(lifetime.begin(key, deadline, customer_id))

        verdict: str = self.registered(conversation_id, begun)
        if verdict in ("ended", "absent"):
            raise ended(key)
        self.remember(conversation_id, customer_id)
        return verdict == "begun"

    def registered(self, conversation_id: str, work: Callable[[int], Any], *, anyhow: bool = False) -> Any:
        """Do what needs the index to know the conversation, soon after it does. Returns what ``work`` does.

        Args:
            conversation_id: which.
            work: called with the time by which it must be done, by the server's clock (µs); again where that passed.
            anyhow: also where the server is full: it makes room.

        Raises:
            DeadlineExceeded: the server, or this process, stood still for so long that it could not be done safely.
        """
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(DeadlineExceeded):
                return work(self.register(conversation_id, anyhow=anyhow))
        return work(self.register(conversation_id, anyhow=anyhow))

    def register(self, conversation_id: str, *, anyhow: bool = False) -> int:
        """Have the index know a conversation. Returns until when its record may begin, by the server's clock (µs)."""
        call = due.register(self._prefix, conversation_id, self.idle, self._within, anyhow=anyhow)
        return self._record.ask(call)

    def remember(self, conversation_id: str, customer_id: str) -> None:
        """It was begun; ``customer_id`` is "" where it is not known whose it is."""
        self._begun[conversation_id] = customer_id
        if len(self._begun) > _REMEMBERED:
            # Other threads add and take out meanwhile; one more or less does not matter.
            with contextlib.suppress(RuntimeError, StopIteration):
                self._begun.pop(next(iter(self._begun)), None)

    def deadline_after(self, us: int) -> int:
        """Until when the index may be told what happened then, both in microseconds of the server's clock."""
        return us + round(self._within * 1_000_000)

    def due_at_once(self, conversation_id: str, deadline: int) -> None:
        """Have an archiver look at a conversation as soon as it can; after the deadline nothing is done."""
        self.forget(conversation_id)
        self._record.ask(due.at_once(self._prefix, conversation_id, deadline))

    def _is_archived(self, conversation_id: str) -> bool:
        """Whether the archive has it; no, where the archive cannot be asked: what comes then is another life of it."""
        if time.monotonic() < self._asks_again:
            return False
        try:
            found: bool = self._archive.run(lambda archive: archive.holds(conversation_id), self._patience)
            self._late_pause = _SHORT_PAUSE
            return found
        except ArchiveError as error:
            # Of those that asked at the same time one says so.
            if time.monotonic() >= self._asks_again:
                pause = self._late_pause if error.reason == "timeout" else _PAUSE
                self._late_pause = min(2 * self._late_pause, _PAUSE)
                self._asks_again = time.monotonic() + pause
                logger.warning("conversations begin without a look into the archive for %g s: %s", pause, error)
            return False
        finally:
            self._patience = _PATIENCE
