"""Who may write to a record now: the two shells of :class:`redstate._writers.Writers`, each with its way of waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

from redstate._writers import MOST_OPEN, Operation, Writers
from redstate.errors import Overloaded


def _crowded(key: str) -> Overloaded:
    return Overloaded(f"{MOST_OPEN} changes of {key} are under way in this process already", limit=MOST_OPEN)


class LoopWriters(Writers):
    """For the tasks of one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    async def turn(self, key: str, timeout: float) -> tuple[Operation, float]:
        """Wait for a place among the operations on ``key``. Returns the operation and the seconds that are left.

        Raises:
            Overloaded: there was none within ``timeout`` seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (operation := self.begin(key)) is None:
            place = loop.create_future()
            self._queues.setdefault(key, deque()).append(place)
            try:
                await asyncio.wait_for(place, deadline - loop.time())
            except (TimeoutError, asyncio.CancelledError) as error:
                if place.done() and not place.cancelled():
                    self._wake(key)  # it had been given the place, and gives it on
                if isinstance(error, TimeoutError):
                    raise _crowded(key) from None
                raise
        return operation, max(0.001, deadline - loop.time())

    def settle(self, operation: Operation) -> None:
        super().settle(operation)
        if self._queues:
            self._wake(operation.key)

    def unknown(self, operation: Operation) -> None:
        super().unknown(operation)
        for key in list(self._queues):  # there is a new pen, with room for everybody
            self._wake(key)

    def forget(self) -> None:
        super().forget()
        self._queues = {}

    def _wake(self, key: str) -> None:
        queue = self._queues.get(key)
        while queue:
            place = queue.popleft()
            if not place.done():
                place.set_result(None)
                break
        if queue is not None and not queue:
            del self._queues[key]


class ThreadWriters(Writers):
    """For many threads: an operation and its floor are taken in one step."""

    def __init__(self) -> None:
        super().__init__()
        self._unlock()

    def begin(self, key: str) -> Operation | None:
        # The bare lock, and the base by name: a condition's and super()'s detours would be felt in each change.
        with self._lock:
            return Writers.begin(self, key)

    def turn(self, key: str, timeout: float) -> tuple[Operation, float]:
        """As in :class:`LoopWriters`, blocking."""
        deadline = time.monotonic() + timeout
        # Not by the condition's own __enter__: an interrupt in there would leave the lock held.
        with self._lock:
            self._waiting += 1
            try:
                while (operation := Writers.begin(self, key)) is None:
                    if not self._settled.wait(deadline - time.monotonic()):
                        raise _crowded(key)
            finally:
                self._waiting -= 1
        return operation, max(0.001, deadline - time.monotonic())

    def settle(self, operation: Operation) -> None:
        with self._lock:
            Writers.settle(self, operation)
            if self._waiting:
                self._settled.notify_all()

    def unknown(self, operation: Operation) -> None:
        with self._lock:
            Writers.unknown(self, operation)
            self._settled.notify_all()

    def forget(self) -> None:
        # A thread that the child does not have may have held the lock.
        self._unlock()
        super().forget()

    def _unlock(self) -> None:
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._waiting = 0
