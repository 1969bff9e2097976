"""A process whose near cache is under test. Whoever started it changes records meanwhile, and ends it.

Usage: nearcache_worker.py URL PREFIX MAX_STALENESS sync|async MODE [WAY]

stall: reads the field ``n`` of the conversation "c" on and on. Says "memory" once memory answers, and after each stall
when the first read after it began and what that found; then again.
deaf: reads ``n`` of ten conversations from memory and says "memory"; then waits until everything was dropped and says
what it reads of each, from memory again.
fork: forks in the WAY of forking_worker.py. Each side says what it begins with and what it reads, and once it has heard
that ``n`` is 2; the parent, when the child has ended, says so, and once it has heard that ``n`` is 3.
forks: forks twelve times, each time with a child that reads ``n`` from memory; says what each found, beside what the
parent had found before, and in the end how often the parent dropped everything.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from forking_worker import fork, say

from redstate import AsyncStore, Store

CONVERSATIONS = [f"c{number}" for number in range(10)]
CHILDREN = 12
PATIENCE = 30.0  # seconds; what has not happened by then does not happen


class Blocking:
    """An AsyncStore as a forked process can use it: with an event loop of its own on each side."""

    def __init__(self, url: str, **options: Any) -> None:
        self._store = AsyncStore.from_url(url, **options)
        self._owner = os.getpid()
        self._runner = asyncio.Runner()
        self.nearcache = self._store.nearcache

    def get(self, conversation: str) -> Any:
        if os.getpid() != self._owner:
            # The loop of the parent would share its event queue.
            self._owner, self._runner = os.getpid(), asyncio.Runner()
        return self._runner.run(self._store.conversation(conversation).state.get("n"))


class Plain:
    """A Store, used in the same way."""

    def __init__(self, url: str, **options: Any) -> None:
        self._store = Store.from_url(url, **options)
        self.nearcache = self._store.nearcache

    def get(self, conversation: str) -> Any:
        return self._store.conversation(conversation).state.get("n")


def await_that(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.001)


def from_memory(store: Any, conversation: str) -> Any:
    """What a read returns that memory has answered, once one is."""
    found: list[Any] = []

    def answered() -> bool:
        before = store.nearcache.stats().hits
        found[:] = [store.get(conversation)]
        return bool(store.nearcache.stats().hits > before)

    await_that(answered, "memory answers")
    return found[0]


class Stalls:
    """Says what the first read after each stall has found, and when memory answers again."""

    def __init__(self, store: Any, longest: float) -> None:
        self._store = store
        self._longest = longest
        self._overdue = False
        self._ended = time.monotonic()
        self._hits: int | None = 0

    def saw(self, began: float, found: Any) -> None:
        """A read has ended."""
        ended = time.monotonic()
        if self._overdue or began - self._ended > self._longest:
            say(f"{began} {found}")
            self._hits = self._store.nearcache.stats().hits
        elif self._hits is not None and self._store.nearcache.stats().hits > self._hits:
            say("memory")
            self._hits = None
        # A stall in the middle of a read: that one began before it, and the next is the first after it.
        self._overdue = ended - began > self._longest
        self._ended = ended


def stall(store: Any, longest: float) -> None:
    stalls = Stalls(store, longest)
    while True:
        stalls.saw(time.monotonic(), store.get("c"))


async def stall_async(url: str, longest: float, options: Any) -> None:
    """The same, in one run of an event loop."""
    async with AsyncStore.from_url(url, **options) as store:
        stalls, state = Stalls(store, longest), store.conversation("c").state
        while True:
            stalls.saw(time.monotonic(), await state.get("n"))


def deaf(store: Any) -> None:
    for conversation in CONVERSATIONS:
        from_memory(store, conversation)
    say("memory")
    await_that(lambda: store.nearcache.stats().drops, "everything is dropped")
    say(" ".join(str(store.get(conversation)) for conversation in CONVERSATIONS))
    say(" ".join(str(from_memory(store, conversation)) for conversation in CONVERSATIONS))


def listeners() -> int:
    return sum(thread.name.startswith("redstate-near-cache") for thread in threading.enumerate())


def forked(store: Any, way: str) -> None:
    from_memory(store, "c")
    before = store.nearcache.stats()

    def child() -> None:
        stats = store.nearcache.stats()
        say(f"child begins with {stats.entries} entries, {listeners()} listeners, serving {stats.serving}")
        say(f"child reads {store.get('c')}")
        from_memory(store, "c")
        say(f"child has {listeners()} listeners")
        await_that(lambda: store.get("c") == 2, "the change is heard of")
        say("child heard 2")

    def parent() -> None:
        await_that(lambda: store.get("c") == 2, "the change is heard of")
        say("parent heard 2")

    fork(way, child, parent)
    say("child has ended")
    await_that(lambda: store.get("c") == 3, "the change is heard of")
    say("parent heard 3")
    stats = store.nearcache.stats()
    say(f"parent has {listeners()} listeners, dropped {stats.drops - before.drops}, serves {stats.serving}")


def forks(store: Any) -> None:
    for _ in range(CHILDREN):
        least = from_memory(store, "c")
        fork("os.fork", lambda least=least: say(f"{least} {store.get('c')} {from_memory(store, 'c')}"), lambda: None)
    say(f"dropped {store.nearcache.stats().drops}")


def main() -> None:
    url, prefix, staleness, colour, mode, *way = sys.argv[1:]
    longest = float(staleness)
    options: Any = {"key_prefix": prefix, "timeout": 20.0, "max_staleness": longest}
    if (mode, colour) == ("stall", "async"):
        asyncio.run(stall_async(url, longest, options))
        return
    store = Plain(url, **options) if colour == "sync" else Blocking(url, **options)
    if mode == "stall":
        stall(store, longest)
    elif mode == "deaf":
        deaf(store)
    elif mode == "fork":
        forked(store, *way)
    else:
        forks(store)


if __name__ == "__main__":
    main()
