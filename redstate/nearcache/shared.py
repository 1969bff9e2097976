"""One near cache for each server and prefix of a process, for blocking and asynchronous stores alike."""

from __future__ import annotations

import os
import threading

from redstate import _keys
from redstate._discovery import Endpoint
from redstate._settings import DEFAULT_STALENESS, Settings
from redstate.nearcache.clock import clock
from redstate.nearcache.copies import NEVER, Copies, Local
from redstate.nearcache.listener import Listener
from redstate.nearcache.stats import NearCacheStats
from redstate.transport.base import forget_at_fork

Identity = tuple[object, ...]


class Shared:
    """The near cache of one server and prefix.

    Attributes:
        copies: what is in memory.
        listener: keeps it right.
        prefix: what every key begins with.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.prefix = settings.key_prefix
        self._bounds: dict[object, float] = {}
        self._strictest = settings.max_staleness or DEFAULT_STALENESS
        self.copies = Copies(settings.near_cache_entries, settings.near_cache_bytes, self._wake)
        self.listener = Listener(
            endpoint.for_threads(), settings.key_prefix, self.copies, lambda: self._strictest, self._unused
        )
        forget_at_fork(self)

    def _wake(self) -> None:
        self.listener.wake()

    def _unused(self) -> bool:
        if not self.in_use:
            _sweep()
        # A store may have come in between.
        return not self.in_use

    def forget(self) -> None:
        """In a forked child: empty, and with a thread of its own once there is something to hear."""
        self.copies.forget_all()
        self.listener.forget()

    def bound_by(self, user: object, staleness: float) -> None:
        """A store relies on it, and on that D."""
        self._bounds[user] = staleness
        self._strictest = min(list(self._bounds.values()))

    def let_go(self, user: object) -> None:
        """The store is gone. No lock is taken: it may be collected in the middle of anything."""
        self._bounds.pop(user, None)
        bounds = list(self._bounds.values())
        if bounds:
            self._strictest = min(bounds)

    @property
    def in_use(self) -> bool:
        """Whether any store relies on it."""
        return bool(self._bounds)


class NearCache:
    """The near cache as one store sees it. Obtained as ``store.nearcache``.

    It is shared by all stores of the process that were opened on the same address (as it is spelled), user, database
    and prefix, with the same ``encryption``; to each other, stores that do not share one are as two processes. Where
    those that do differ in ``max_staleness``, each keeps its own; of ``near_cache_entries`` and ``near_cache_bytes``
    the largest hold.
    """

    __slots__ = ("_shared", "_user", "local")

    def __init__(self, shared: Shared, longest: float) -> None:
        self._shared = shared
        self._user = object()
        self.local = Local(shared.copies, longest)
        shared.bound_by(self._user, longest or DEFAULT_STALENESS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of at most {self.local.longest:g} s>"

    def stats(self) -> NearCacheStats:
        """What it did since the process began."""
        copies, longest = self.local.copies, self.local.longest
        counters = copies.counters
        entries, size = copies.room()
        age = None if copies.echo == NEVER else clock() - copies.echo
        return NearCacheStats(
            serving=age is not None and age < longest,
            entries=entries,
            bytes=size,
            hits=counters.hits,
            misses=counters.misses,
            joins=counters.joins,
            bypasses=dict(counters.bypasses),
            evictions=counters.evictions,
            invalidations=counters.invalidations,
            unheld=counters.unheld,
            late_fills=counters.late_fills,
            drops=counters.drops,
            reconnects=max(0, counters.connects - 1),
            audits=counters.audits,
            audit_mismatches=counters.audit_mismatches,
            echo_age=age,
            lag_median=counters.lag(0.5),
            lag_p99=counters.lag(0.99),
        )

    def clear(self) -> None:
        """Drop every copy, so that every next read asks the server: for who changes records past redstate."""
        self.local.copies.clear()

    def forget(self, conversation_id: str) -> None:
        """Drop the copy of a conversation, so that its next read asks the server.

        For who knows by another way that another process changed it: a message that says so can be quicker than the one
        that drops the copy by itself.

        Raises:
            InvalidId: the id cannot name a conversation.
        """
        self.local.copies.forget(_keys.conversation_key(self._shared.prefix, conversation_id))

    def detach(self) -> None:
        """The store is closed, and serves nothing from here on. The listener ends with the last one."""
        self.abandon()
        _sweep()

    def abandon(self) -> None:
        """The store was collected without being closed: as ``detach``, without a lock."""
        self.local.longest = 0.0
        self._shared.let_go(self._user)
        self._shared.listener.ring()


_lock = threading.Lock()
_all: dict[Identity, Shared] = {}


def attach(endpoint: Endpoint, settings: Settings) -> NearCache:
    """The near cache for a store on that server, with those settings; to be detached when the store is closed."""
    # What is decrypted in memory is for stores with the same keys.
    identity = (*endpoint.identity, settings.key_prefix, settings.encryption)
    with _lock:
        shared = _all.get(identity)
        if shared is None:
            shared = _all[identity] = Shared(endpoint, settings)
        shared.copies.grow(settings.near_cache_entries, settings.near_cache_bytes)
        return NearCache(shared, settings.max_staleness)


def _sweep() -> None:
    """End the near caches that no store relies on any more."""
    with _lock:
        for identity, shared in list(_all.items()):
            if not shared.in_use:
                del _all[identity]
                shared.listener.stop()


def _unlock() -> None:
    # A thread that a forked child does not have may have held it.
    global _lock  # noqa: PLW0603 - the table is one for the process, and so is its lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock)
