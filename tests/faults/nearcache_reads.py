"""What the tests of the near cache share: reads that memory answers, and the truth that reads are held to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import servers

from redstate import _scripts

Read = Callable[[], Any]


def from_memory(store: Any, read: Read) -> Any:
    """What a read returns that memory has answered, once one is."""
    found: list[Any] = []

    def answered() -> bool:
        before = store.nearcache.stats().hits
        found[:] = [read()]
        return store.nearcache.stats().hits > before

    servers.wait_until(answered, "memory answers")
    return found[0]


def subscribed(store: Any, read: Read) -> None:
    """Read until what is read has its place in memory, so that the next read will fill it."""

    def stands() -> bool:
        before = bypassed(store, "disconnected", "subscribing")
        read()
        return bypassed(store, "disconnected", "subscribing") == before

    servers.wait_until(stands, "there is a subscription")


def bypassed(store: Any, *reasons: str) -> int:
    """How many reads went past the memory for one of the reasons."""
    counted = store.nearcache.stats().bypasses
    return sum(counted.get(reason, 0) for reason in reasons)


def heard(store: Any, act: Callable[[], Any]) -> Any:
    """Do something that changes one record of which there is a place in memory, and wait until that was heard of."""
    before = store.nearcache.stats().invalidations
    result = act()
    servers.wait_until(lambda: store.nearcache.stats().invalidations > before, "the change is heard of")
    return result


def runs(name: str) -> Callable[[bytes, list[bytes]], bool]:
    """Picks the calls of one script."""
    sha = _scripts.load(name).sha.encode()
    return lambda command, arguments: command == b"EVALSHA" and arguments[0] == sha


def tells_of(key: str) -> Callable[[bytes, list[bytes]], bool]:
    """Picks the messages that say that one record was changed."""
    return lambda kind, parts: kind == b"message" and parts[0] == key.encode()


class Truth:
    """The field ``n`` of a conversation, which another process counts up, and how far behind it a read is.

    Args:
        conversation: as the other process has it.
    """

    def __init__(self, conversation: Any) -> None:
        self.key = conversation.key
        self._state = conversation.state
        self._acknowledged: list[float] = []
        self.change()

    @property
    def newest(self) -> int:
        return len(self._acknowledged) - 1

    def change(self) -> int:
        """Count up. Returns the number that holds since."""
        self._state.set("n", len(self._acknowledged))
        self._acknowledged.append(time.monotonic())
        return self.newest

    def behind(self, read: Read) -> float:
        """For how many seconds at least what a read returns was of the past when it began; 0 if it was not."""
        began = time.monotonic()
        number = read()
        return began - self._acknowledged[number + 1] if number < self.newest else 0.0
