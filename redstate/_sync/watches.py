# Generated from redstate/_async/watches.py by tools/generate_sync.py. Do not edit: edit that file.
"""Customers in step: one worker of a store tells who watches, and fetches what was changed before it is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from redstate._sync.record import Record
from redstate.calls import customer as customer_calls
from redstate.calls import record as record_calls
from redstate.calls.customer import CustomerWatch
from redstate.errors import StoreError
from redstate.nearcache.copies import Copies
from redstate.nearcache.signals import ThreadSignal, called
from redstate.transport.base import forget_at_fork

logger = logging.getLogger("redstate")


class Watches:
    """What one store watches.

    Args:
        copies: where the store's copies are.
        record_of: makes the record of a key.
        every: seconds after which whatever is watched is looked at without being told.
        updates: whether customers that are in memory are fetched anew as soon as they change.
    """

    def __init__(self, copies: Copies, record_of: Callable[[str], Record], every: float, *, updates: bool) -> None:
        self._copies = copies
        self._record_of = record_of
        self._every = every
        self._signal = ThreadSignal()
        self._watches: dict[str, list[CustomerWatch]] = {}
        self._updates = updates
        forget_at_fork(self)

    def forget(self) -> None:
        """In a forked child nobody watches: the callbacks are the parent's."""
        self._watches = {}
        self._signal.forget()

    def keep(self, key: str) -> None:
        """A customer is read through this store: where the strategy is to update, it is fetched when it changes."""
        if self._updates and not self._signal.stopped:
            self._copies.refresh_by(self._signal)
            self._signal.start(self._work)

    def add(self, record: Record, customer_id: str, callback: Callable[[Any], Any]) -> CustomerWatch:
        """Call ``callback`` with every change of the customer from now on."""
        key = record.key
        seen = record.refreshed()

        def changed() -> None:
            self._signal.ring(key)

        def close(watch: CustomerWatch) -> None:
            watches = self._watches.get(key, [])
            if watch in watches:
                watches.remove(watch)
                self._copies.unpin(key, changed)

        watch = CustomerWatch(customer_id, record.codec, callback, seen, close)
        self._watches.setdefault(key, []).append(watch)
        self._signal.start(self._work)
        # Once the subscription stands it rings, so nothing is missed between the look at it above and then.
        self._copies.pin(key, changed)
        return watch

    def close(self) -> None:
        """End every watch."""
        for watches in list(self._watches.values()):
            for watch in list(watches):
                watch.close()
        self._signal.stop()

    def abandon(self) -> None:
        """The store was collected without being closed: the worker ends at its next look. No lock is taken."""
        self._signal.stopped = True

    def _work(self) -> None:
        next_round = time.monotonic() + self._every
        while not self._signal.stopped:
            rung = self._signal.rung(max(0.0, next_round - time.monotonic()))
            looks = dict.fromkeys(rung, True)
            if time.monotonic() >= next_round:
                # Whatever is watched, in case a message was lost; however much rings meanwhile.
                next_round = time.monotonic() + self._every
                looks = {**dict.fromkeys(self._watches, False), **looks}
            for key, certainly in looks.items():
                self._look_safely(key, certainly=certainly)

    def _look_safely(self, key: str, *, certainly: bool) -> None:
        try:
            self._look(key, certainly=certainly)
        except StoreError as error:
            # The server cannot be asked just now. The next look comes by itself.
            logger.debug("%s could not be looked at: %s", key, error)
        except Exception:
            # Of one customer, say one that is corrupt: the others are still to be looked at.
            logger.exception("%s is watched and could not be looked at", key)

    def _look(self, key: str, *, certainly: bool) -> None:
        """Fetch what was changed, and tell of it."""
        record = self._record_of(key)
        if not certainly:
            version = record.read(record_calls.stored_version(key), fresh=True)
            if all(watch.seen.version == version for watch in self._watches.get(key, ())):
                return
        image = record.refreshed()
        for watch in list(self._watches.get(key, ())):
            change = customer_calls.change(record.codec, key, watch, image)
            if change is not None:
                self._tell(key, watch, change)

    def _tell(self, key: str, watch: CustomerWatch, change: customer_calls.CustomerChange) -> None:
        try:
            called(watch.callback, change)
        except Exception:
            # The callback is the application's: its failure is said, and ends neither the watch nor its neighbours'.
            logger.exception("A callback for changes of %s failed", key)
