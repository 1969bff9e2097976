"""The copies of one server and prefix: which there are, what may be put there, and what is of the past. No I/O.

A *holding* is a place for the copy of one key; each has a subscription, and is bounded by least recent use. Its
floor and resets say what was heard of the key, so that a reply that was on its way meanwhile is not kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from cachebox import LRUCache

from redstate._keys import is_customer
from redstate.nearcache.clock import clock
from redstate.nearcache.holding import Copy, Fill, Flight, Holding
from redstate.nearcache.stats import Counters
from redstate.nearcache.subscriptions import Changed, Subscriptions

NEVER = float("-inf")


class Refresher(Protocol):
    """Who fetches customers anew; see ``signals``."""

    stopped: bool

    def ring(self, key: str) -> None:
        """The customer is to be fetched."""


class Copies:
    """The copies of one server and prefix.

    Args:
        most_entries: how many places there are at most.
        most_bytes: about how many bytes the copies take at most.
        wake: tells the listener that there is something to subscribe to.

    Attributes:
        lookup: the holding of a key, or None; counts as a use of it.
        echo: when the last heartbeat that came back was sent.
        connected: whether the listener has its connection.
        counters: what happened.
    """

    def __init__(self, most_entries: int, most_bytes: int, wake: Callable[[], None]) -> None:
        self.most_entries, self.most_bytes = most_entries, most_bytes
        self.counters = Counters()
        self._wake = wake
        self._begin_empty()

    def _begin_empty(self) -> None:
        self._lock = threading.Lock()
        self.echo = NEVER
        self.connected = False
        # Every place weighs at least its share, so one bound holds for both.
        self._least = max(1, self.most_bytes // self.most_entries)
        # Every place, under the lock; and the same weighed and in order of use, where readers look without it. (They
        # change its order, and nothing can be gone through while that changes.)
        self._holdings: dict[str, Holding] = {}
        self._recent: LRUCache[str, Holding] = LRUCache(self.most_bytes, getsizeof=_weight)
        self.lookup: Callable[[str], Holding | None] = self._recent.get
        self._subscriptions = Subscriptions()
        self.stands: Callable[[str], bool] = self._subscriptions.stands
        self._round: list[str] = []
        self._refreshers: list[Refresher] = []

    # What readers do

    def begin(self, key: str, longest: float) -> Fill | None:
        """Before a read that misses: what its reply may fill. None where it cannot be kept; a bypass is counted.

        Args:
            longest: D, in seconds.
        """
        counters = self.counters
        holding = self.lookup(key)
        now = clock()
        if not self.connected:
            counters.bypassed("disconnected")
            self._wake()
        elif holding is None or not self.stands(key):
            counters.bypassed("subscribing")
            if holding is None:
                self._hold(key)
        elif now - longest > self.echo:
            counters.bypassed("silent")
        elif holding.oversize:
            counters.bypassed("too large")
        else:
            return Fill(key, holding, now)
        return None

    def complete(self, fill: Fill, copy: Copy) -> None:
        """The read has come back. Keeps the copy, unless something newer was heard of meanwhile."""
        key, holding = fill.key, fill.holding
        self.counters.misses += 1
        with self._lock:
            now = self._holdings.get(key)
            overtaken = holding.floor != fill.floor and copy.version < holding.floor
            if now is not None and copy.version > 0:
                now.show(copy.version)  # also where it is not kept: its reader has it
            # Evicted meanwhile, or dropped with everything: what was published since may have been missed.
            if now is not holding or not self.stands(key):
                return
            if overtaken or holding.resets != fill.resets or copy.version < 0:
                self.counters.late_fills += 1
                return
            if copy.version < holding.floor:
                # Nothing was heard, so the record is gone, or the server has lost it; other replies may not know yet.
                holding.reset()
            holding.floor = holding.seen = copy.version
            self._put(key, holding, copy)

    def observed(self, key: str, version: int) -> None:
        """The server has shown this version (-1: one that tells nothing) to a reader: no older copy is served since."""
        if not self.holds(key):
            return
        with self._lock:
            holding = self._holdings.get(key)
            if holding is None:
                return
            # An older one than is held: the record is gone, or the server has lost it.
            if version < 0 or (holding.copy is not None and version < holding.copy.version):
                holding.reset()
            else:
                holding.show(version)

    def forget(self, key: str) -> None:
        """The copy may be of the past, and so may what is on its way."""
        if self.holds(key):
            with self._lock:
                holding = self._holdings.get(key)
                if holding is not None:
                    holding.reset()

    def holds(self, key: str) -> bool:
        """Whether the key has a place. ``lookup`` misses one for a moment while it is weighed again."""
        return key in self._holdings

    # What writers do

    def take_off(self, key: str) -> Flight | None:
        """A change of the record is about to be sent. None where it has no place here, and nothing is to be done."""
        holding = self.lookup(key)
        if holding is None:
            return None
        with self._lock:
            holding.flying += 1
        return Flight(holding, clock())

    def crash(self, flight: Flight | None, key: str) -> None:
        """A change was refused, or nobody knows what became of it. The copy may be what misled its caller."""
        if flight is not None:
            with self._lock:
                self._land(flight)
        self.forget(key)

    def land(self, flight: Flight | None, key: str, version: int, make: Callable[[Any], Copy | None]) -> None:
        """A change of this process has taken effect: from now on the process reads it.

        Args:
            flight: of ``take_off``.
            key: the record.
            version: its version since.
            make: makes the new copy of the one that is held, or None of one that it does not know how to change.
        """
        with self._lock:
            if flight is not None:
                self._land(flight)
            holding = self._holdings.get(key)
            if holding is None:
                return
            held = holding.copy or holding.dropped
            holding.oversize = False
            holding.floor, holding.seen = max(holding.floor, version), max(holding.seen, version)
            if held is None or held.version >= version:
                return
            holding.copy, holding.dropped = None, make(held)
            # Where a later change was heard of, and more of ours are under way, it is taken for one of them.
            if holding.dropped is not None and holding.seen == version and (holding.floor == version or holding.flying):
                self._put(key, holding, holding.dropped)

    # What the listener does

    def heard(self, messages: Iterable[tuple[str, int | None]]) -> None:
        """Keys that were changed, with their versions since; None where a key has none, or it is not known."""
        peek, counters = self._holdings.get, self.counters
        watched: list[Changed] = []
        pinned = self._subscriptions.pinned
        dropped: list[str] = []
        with self._lock:
            # One of the stores fetches it for all.
            refresh = next((one.ring for one in self._refreshers if not one.stopped), None)
            for key, version in messages:
                if pinned and key in pinned:
                    watched += pinned[key]
                holding = peek(key)
                if holding is None:
                    counters.unheld += key not in pinned
                    continue
                counters.invalidations += 1
                if version is None:
                    holding.reset()
                elif version > holding.floor and holding.hear(version) and refresh is not None and is_customer(key):
                    dropped.append(key)
        for changed in watched:
            changed()
        if refresh is not None:
            for key in dropped:
                refresh(key)

    def take_requests(self, *, shed: bool) -> list[tuple[bool, str]]:
        """What is to be subscribed to (True) and what no longer (False), in order.

        Args:
            shed: whether to give up the subscriptions of what was evicted, also if that is little.
        """
        with self._lock:
            self._subscriptions.shed(self._holdings.__contains__, also_few=shed)
            return self._subscriptions.take_requests()

    def confirm(self, key: str) -> None:
        """The server confirms a subscription."""
        watched: Iterable[Changed] = ()
        with self._lock:
            if self._subscriptions.confirm(key):
                watched = tuple(self._subscriptions.pinned.get(key, ()))
        for changed in watched:
            changed()

    def link_up(self) -> None:
        """There is a connection, and nothing is subscribed to on it yet."""
        with self._lock:
            self.counters.connects += 1
            self.connected = True
            self._subscriptions.begin_anew()

    def link_down(self) -> None:
        """Messages may have been missed: nothing is served before it was read anew."""
        with self._lock:
            self.echo = NEVER
            self.connected = False
            self.counters.drops += 1
            self._holdings.clear()
            self._recent.clear()
            self._round.clear()
            self._subscriptions.end()

    def next_to_audit(self, longest: float) -> tuple[str, Copy] | None:
        """A copy that could be served, each in its turn; None where there is none.

        Args:
            longest: D, in seconds.
        """
        now = clock()
        with self._lock:
            if not self._round:
                self._round = list(self._holdings)
            while self._round:
                key = self._round.pop()
                holding = self._holdings.get(key)
                copy = None if holding is None else holding.copy
                if copy is not None and copy.until > now < copy.since + longest:
                    return key, copy
        return None

    def audited(self, key: str, copy: Copy, found: Any) -> None:
        """Compare a copy with what the server holds.

        The answer came on the connection of the invalidations, so every one from before it has been heard: a copy that
        is still there, and shows something else, has missed one.
        """
        with self._lock:
            holding = self._holdings.get(key)
            if holding is None or holding.copy is not copy or holding.floor > copy.version:
                return  # rightly gone meanwhile, or known to go when a change of ours has landed
            if copy.until <= clock():
                return
            self.counters.audits += 1
            if copy.agrees(found):
                return
            self.counters.audit_mismatches += 1
            holding.reset()

    # Watching

    def pin(self, key: str, changed: Changed) -> None:
        """Call ``changed`` whenever the key changes or may have changed, and once its subscription stands."""
        with self._lock:
            self._subscriptions.pin(key, changed)
            stands = self.connected and self.stands(key)
            if self.connected:
                self._subscriptions.want(key)
        self._wake()
        if stands:
            changed()

    def unpin(self, key: str, changed: Changed) -> None:
        """The opposite of ``pin``."""
        with self._lock:
            self._subscriptions.unpin(key, changed, self._holdings.__contains__)

    def refresh_by(self, refresher: Refresher) -> None:
        """Tell one of the refreshers of customers whose copies were dropped because another process changed them."""
        with self._lock:
            if refresher not in self._refreshers:
                # Those of stores that are gone are left out on this occasion.
                self._refreshers = [one for one in self._refreshers if not one.stopped] + [refresher]

    # The rest

    def clear(self) -> None:
        """Drop every copy; the places and their subscriptions stay."""
        with self._lock:
            for holding in self._holdings.values():
                holding.reset()

    def grow(self, most_entries: int, most_bytes: int) -> None:
        """Make room for more, if that is more."""
        with self._lock:
            if most_entries <= self.most_entries and most_bytes <= self.most_bytes:
                return
            self.most_entries = max(self.most_entries, most_entries)
            self.most_bytes = max(self.most_bytes, most_bytes)
            self._least = max(1, self.most_bytes // self.most_entries)
            larger: LRUCache[str, Holding] = LRUCache(self.most_bytes, getsizeof=_weight)
            for key, holding in list(self._holdings.items()):
                holding.weight = max(self._least, 0 if holding.copy is None else holding.copy.size)
                if holding.weight <= larger.remaining_size():
                    larger[key] = holding
                else:
                    del self._holdings[key]
                    self._subscriptions.loosen(key)
            self._recent, self.lookup = larger, larger.get

    def forget_all(self) -> None:
        """In a forked child: nothing of the parent's is served. A thread that is not here may have held the lock."""
        self.counters = Counters()
        self._begin_empty()

    def room(self) -> tuple[int, int]:
        """How many places are taken, and about how many bytes the copies in them have."""
        with self._lock:
            copies = [holding.copy for holding in self._holdings.values()]
            return len(copies), sum(copy.size for copy in copies if copy is not None)

    def _hold(self, key: str) -> None:
        with self._lock:
            if not self.connected or self._holdings.get(key) is not None:
                return
            self._subscriptions.want(key)
            self._insert(key, Holding(self._least))
        self._wake()

    def _land(self, flight: Flight) -> None:
        if flight.landed:
            return
        holding, flight.landed = flight.holding, True
        holding.flying -= 1
        if not holding.flying:
            holding.excused = 0
            if holding.copy is not None and holding.copy.version < holding.floor:
                # It was another's change after all, unless it is this one, which then goes on from here.
                holding.drop()

    def _put(self, key: str, holding: Holding, copy: Copy) -> None:
        holding.dropped = None
        weight = max(self._least, copy.size)
        if weight != holding.weight:
            # Taken out first: what a place weighs must not change while it is counted.
            self._recent.pop(key, None)
            holding.oversize = weight > self.most_bytes // 8
            holding.weight = self._least if holding.oversize else weight
            holding.copy = None if holding.oversize else copy
            self._insert(key, holding)
        else:
            holding.copy = copy

    def _insert(self, key: str, holding: Holding) -> None:
        recent = self._recent
        while recent.remaining_size() < holding.weight:
            evicted, _ = recent.popitem()
            self._holdings.pop(evicted, None)
            self._subscriptions.loosen(evicted)
            self.counters.evictions += 1
        recent[key] = self._holdings[key] = holding


class Local:
    """What a store's handles know of the near cache.

    Attributes:
        copies: what is in memory.
        longest: D, in seconds; 0 where every read asks the server, as it does once the store is closed.
    """

    __slots__ = ("copies", "longest")

    def __init__(self, copies: Copies, longest: float) -> None:
        self.copies = copies
        self.longest = longest

    def servable(self, key: str) -> Any:
        """The copy of a key, if it may be served now; else None."""
        holding = self.copies.lookup(key)
        if holding is None:
            return None
        copy, now = holding.copy, clock()
        oldest = now - self.longest
        if copy is None or copy.since <= oldest or self.copies.echo <= oldest or copy.until <= now:
            return None
        return copy


def _weight(key: str, holding: Holding) -> int:
    return holding.weight
