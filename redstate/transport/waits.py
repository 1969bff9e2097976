"""How the tasks or threads of one process wait together for a value that somebody else loads.

One of them polls the server, the others follow it: they sleep until it has seen the end of the load, or until the lease
of the one who loads must have run out, whichever comes first. A load of this process that fails fails for all of them:
if each tried in turn instead, a backend that is down would be waited for as often as there are callers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

from redstate._jitter import between
from redstate.transport.base import forget_at_fork

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.004, 0.1, 1.5


def pauses() -> Iterator[float]:
    """Seconds between polls: from 2 to 4 ms up to 50 to 100 ms, growing by half; random, so that processes spread."""
    ceiling = _FIRST_PAUSE
    while True:
        yield between(ceiling / 2, ceiling)
        ceiling = min(ceiling * _GROWTH, _LONGEST_PAUSE)


class _LoopRoom:
    __slots__ = ("failure", "over", "polled")

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.polled = False
        self.failure: Exception | None = None


class LoopWaits:
    """For the tasks of one event loop."""

    def __init__(self) -> None:
        self._rooms: dict[str, _LoopRoom] = {}
        forget_at_fork(self)

    async def pause(self, key: str, short: float, longest: float) -> Exception | None:
        """Wait before asking the server again. Returns what a load of this process has raised meanwhile.

        Args:
            key: what is waited for.
            short: seconds to wait if nobody else of this process asks.
            longest: seconds to wait if somebody does; :meth:`wake` ends it sooner.
        """
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = _LoopRoom()
        polls = not room.polled
        room.polled = True
        try:
            async with asyncio.timeout(min(short, longest) if polls else longest):
                await room.over.wait()
        except TimeoutError:
            pass  # time to ask again
        finally:
            if polls:
                room.polled = False
        return room.failure

    def wake(self, key: str, failure: Exception | None = None) -> None:
        """The load of ``key`` has come to an end, or the one who polls gives up: everybody asks for himself.

        Args:
            key: what was waited for.
            failure: what the load raised: those who wait get it, and need not ask.
        """
        room = self._rooms.pop(key, None)
        if room is not None:
            room.failure = failure
            room.over.set()

    def forget(self) -> None:
        self._rooms = {}


class _ThreadRoom:
    __slots__ = ("failure", "over", "polled")

    def __init__(self) -> None:
        self.over = threading.Event()
        self.polled = False
        self.failure: Exception | None = None


class ThreadWaits:
    """For many threads; as :class:`LoopWaits`, blocking."""

    def __init__(self) -> None:
        self.forget()
        forget_at_fork(self)

    def pause(self, key: str, short: float, longest: float) -> Exception | None:
        with self._lock:
            room = self._rooms.setdefault(key, _ThreadRoom())
            polls = not room.polled
            room.polled = True
        try:
            room.over.wait(min(short, longest) if polls else longest)
        finally:
            if polls:
                room.polled = False
        return room.failure

    def wake(self, key: str, failure: Exception | None = None) -> None:
        with self._lock:
            room = self._rooms.pop(key, None)
        if room is not None:
            room.failure = failure
            room.over.set()

    def forget(self) -> None:
        # A thread that the child does not have may have held the lock, and those that waited are not there either.
        self._lock = threading.Lock()
        self._rooms: dict[str, _ThreadRoom] = {}
