"""How what the listener hears reaches the code that acts on it: the two colours of a worker and its signal."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class LoopSignal:
    """For a task of one event loop. ``ring`` may be called from any thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a forked child, where no worker of the parent's goes on."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rung: set[str] = set()
        self.stopped = False

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the worker run, unless it does already."""
        if self._task is None or self._task.done():
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(work())

    def stop(self) -> None:
        """End the worker."""
        self.stopped = True
        if self._task is not None and self._loop is not None and not self._loop.is_closed():
            self._task.cancel()

    def ring(self, key: str) -> None:
        """Something is to be looked at."""
        self._rung.add(key)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(self._event.set)

    async def rung(self, longest: float) -> set[str]:
        """Wait until something is to be looked at, ``longest`` seconds at most. Returns what."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._event.wait()
        self._event.clear()
        return _taken(self._rung)


class ThreadSignal:
    """For a thread of its own; as :class:`LoopSignal`, blocking."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._rung: set[str] = set()
        self.stopped = False

    def start(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=work, name="redstate-watches", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self.stopped = True
        self._event.set()

    def ring(self, key: str) -> None:
        self._rung.add(key)
        self._event.set()

    def rung(self, longest: float) -> set[str]:
        self._event.wait(longest)
        self._event.clear()
        return _taken(self._rung)


async def called_and_awaited(callback: Callable[[Any], Any], argument: Any) -> None:
    """Call a function, and wait for it if it is a coroutine function."""
    result = callback(argument)
    if inspect.isawaitable(result):
        await result


def called(callback: Callable[[Any], Any], argument: Any) -> None:
    """The same for a thread, which calls plain functions only."""
    callback(argument)


def _taken(rung: set[str]) -> set[str]:
    """Empty a set that other threads add to; what comes meanwhile stays for the next time."""
    taken = set()
    with contextlib.suppress(KeyError):
        while True:
            taken.add(rung.pop())
    return taken
