"""How the tasks or threads of a store share one fetch of a record: when it changes, a crowd would ask for the same."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from redstate.nearcache.clock import clock
from redstate.nearcache.holding import Fill, Holding
from redstate.transport.base import forget_at_fork


class LoopFetch:
    """A fetch that others may join."""

    __slots__ = ("fill", "future")

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class LoopJoins:
    """For the tasks of one event loop."""

    def __init__(self) -> None:
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        """In a forked child nobody fetches."""
        self._under_way: dict[str, LoopFetch] = {}

    async def join(self, key: str, place: Holding | None, *, oldest: float, deadline: float) -> Any:
        """What another task fetches at the moment, if it will do for who asks now; None: fetch it yourself.

        Args:
            key: of what.
            place, oldest, deadline: see :meth:`Fill.serves`.
        """
        fetch = self._under_way.get(key)
        if fetch is None or not fetch.fill.serves(place, oldest, deadline):
            return None
        # Shielded: who gives up waiting does not end it for the others.
        return await asyncio.shield(fetch.future)

    def lead(self, fetch: LoopFetch) -> None:
        """The caller fetches it, and calls ``done`` whatever becomes of that."""
        self._under_way[fetch.fill.key] = fetch

    def done(self, fetch: LoopFetch, copy: Any) -> None:
        """It has come, or not (None)."""
        if not fetch.future.done():
            fetch.future.set_result(copy)
        if self._under_way.get(fetch.fill.key) is fetch:
            del self._under_way[fetch.fill.key]


class ThreadFetch:
    """As :class:`LoopFetch`, for threads."""

    __slots__ = ("copy", "fill", "over")

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.over = threading.Event()
        self.copy: Any = None


class ThreadJoins:
    """For many threads; as :class:`LoopJoins`, blocking."""

    def __init__(self) -> None:
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        self._under_way: dict[str, ThreadFetch] = {}

    def join(self, key: str, place: Holding | None, *, oldest: float, deadline: float) -> Any:
        fetch = self._under_way.get(key)
        if fetch is None or not fetch.fill.serves(place, oldest, deadline):
            return None
        # Its leader is done before, unless an interrupt has taken it away in the middle.
        fetch.over.wait(max(0.0, deadline - clock()))
        return fetch.copy

    def lead(self, fetch: ThreadFetch) -> None:
        # Of two who lead at once the later stands in the table; who joined the earlier is told by that all the same.
        self._under_way[fetch.fill.key] = fetch

    def done(self, fetch: ThreadFetch, copy: Any) -> None:
        fetch.copy = copy
        fetch.over.set()
        if self._under_way.get(fetch.fill.key) is fetch:
            self._under_way.pop(fetch.fill.key, None)
