"""What the fault proxy has been told to do: selection of frames, rules, delays, holds, and the counters."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Literal

from redstate.testing._resp import items_of

Direction = Literal["requests", "replies"]
Matching = Callable[[bytes, list[bytes]], bool]


class Exchange:
    """A request on its way to its reply."""

    __slots__ = ("confirmations", "frame", "name")

    def __init__(self, name: bytes, frame: bytes, confirmations: int = 0) -> None:
        self.name = name
        self.frame = frame
        self.confirmations = confirmations


@dataclass(frozen=True, slots=True)
class Selector:
    """Picks requests (or pushes) by name and by a predicate of name and arguments; both must agree."""

    command: bytes | None = None
    matching: Matching | None = None

    def selects(self, exchange: Exchange | None) -> bool:
        """Tells whether the exchange is picked; a frame that answers no request (None) only without any condition."""
        if exchange is None:
            return self.command is None and self.matching is None
        if self.command is not None and self.command != exchange.name:
            return False
        return self.matching is None or self.matching(exchange.name, items_of(exchange.frame)[1:])


class Action(Enum):
    """What a rule does with the frame that it strikes."""

    SWALLOW = auto()
    DROP = auto()


@dataclass(slots=True)
class Rule:
    """Strikes `count` selected frames (None: every one) after letting `after` pass, each with the given chance."""

    action: Action
    selector: Selector
    count: int | None = 1
    after: int = 0
    chance: float = 1.0
    rng: random.Random | None = None

    def __post_init__(self) -> None:
        if (self.count is not None and self.count < 1) or self.after < 0:
            raise ValueError("count is at least 1 (or None), after at least 0")
        if not 0 <= self.chance <= 1:
            raise ValueError("a fraction lies between 0 and 1")

    def strikes(self, exchange: Exchange) -> bool:
        """Decides about one frame, and remembers that it did."""
        if self.count == 0 or not self.selector.selects(exchange):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.rng is not None and self.rng.random() >= self.chance:
            return False
        if self.count is not None:
            self.count -= 1
        return True


@dataclass(slots=True)
class HoldRule:
    """Keeps selected replies, and all that follow them on the same connection, until released."""

    selector: Selector
    released: bool = False


@dataclass(slots=True)
class Delay:
    """Keeps each selected frame back for a time drawn between two bounds, in seconds."""

    selector: Selector
    low: float
    high: float
    rng: random.Random

    def seconds(self) -> float:
        """Draws the time for one frame."""
        return self.low if self.low == self.high else self.rng.uniform(self.low, self.high)


@dataclass(slots=True)
class Chunks:
    """Cuts what is written into pieces of 1 to `largest` bytes."""

    largest: int
    rng: random.Random

    def split(self, data: bytes) -> Iterator[bytes]:
        """Gives the pieces of the data, in order."""
        start = 0
        while start < len(data):
            end = start + self.rng.randint(1, self.largest)
            yield data[start:end]
            start = end


def seeded(seed: int) -> random.Random:
    """Returns a source of chance that repeats itself from its seed."""
    return random.Random(seed)  # noqa: S311 - a fault run must be repeatable from its seed; nothing here is a secret


@dataclass(slots=True)
class Faults:
    """All faults in force; changed and read on the proxy's own thread only."""

    request_rules: list[Rule] = field(default_factory=list)
    reply_rules: list[Rule] = field(default_factory=list)
    push_rules: list[Rule] = field(default_factory=list)
    holds: list[HoldRule] = field(default_factory=list)
    delays: dict[Direction, Delay] = field(default_factory=dict)
    chunks: dict[Direction, Chunks] = field(default_factory=dict)
    blackhole: bool = False
    blackhole_carrying: bytes | None = None

    def delay_for(self, direction: Direction, exchange: Exchange | None) -> float:
        """Returns how long a frame is kept back, in seconds."""
        delay = self.delays.get(direction)
        return delay.seconds() if delay is not None and delay.selector.selects(exchange) else 0.0

    def hold_for(self, exchange: Exchange | None) -> HoldRule | None:
        """Returns the hold that catches a reply, if any."""
        return next((hold for hold in self.holds if hold.selector.selects(exchange)), None)

    def clear(self) -> None:
        """Ends every fault; frames that were held become free."""
        for hold in self.holds:
            hold.released = True
        for rules in (self.request_rules, self.reply_rules, self.push_rules, self.holds):
            rules.clear()
        self.delays.clear()
        self.chunks.clear()
        self.blackhole = False
        self.blackhole_carrying = None


def strike(rules: list[Rule], exchange: Exchange) -> Action | None:
    """Returns what the first rule that strikes does; rules that are used up are forgotten."""
    for rule in rules:
        if rule.strikes(exchange):
            if rule.count == 0:
                rules.remove(rule)
            return rule.action
    return None


@dataclass(slots=True)
class ProxyStats:
    """What passed through a proxy since it started. All but `open` only rise.

    Attributes:
        connections: connections accepted.
        open: connections open now.
        requests: whole requests received from clients.
        replies: whole replies received from the server, whatever became of them.
        pushes: frames received from the server that answer no request, such as published messages.
        swallowed: replies or requests discarded together with their connection.
        dropped: replies or pushes discarded on a connection that stayed up.
        held: replies and pushes that a hold caught.
        cut: connections broken by cut().
        unreachable: connections closed because the server could not be reached.
        malformed: connections closed because the bytes on them were not the Redis protocol.
    """

    connections: int = 0
    open: int = 0
    requests: int = 0
    replies: int = 0
    pushes: int = 0
    swallowed: int = 0
    dropped: int = 0
    held: int = 0
    cut: int = 0
    unreachable: int = 0
    malformed: int = 0


Predicate = Callable[[ProxyStats], bool]


class Board:
    """The counters, and those who wait for them. Lives on the proxy's own thread."""

    def __init__(self) -> None:
        self.stats = ProxyStats()
        self._change: asyncio.Event | None = None
        self._closed = False

    def close(self) -> None:
        """Fails those who wait, now and later."""
        self._closed = True
        self.changed()

    def changed(self) -> None:
        """Lets those who wait look again."""
        if self._change is not None:
            self._change.set()
            self._change = None

    async def reach(self, predicate: Predicate, timeout: float) -> ProxyStats:
        """Waits until the predicate holds; raises TimeoutError after `timeout` seconds, RuntimeError when closed."""
        try:
            async with asyncio.timeout(timeout):
                while not predicate(self.stats):
                    if self._closed:
                        raise RuntimeError("The fault proxy was closed")
                    if self._change is None:
                        self._change = asyncio.Event()
                    await self._change.wait()
        except TimeoutError:
            raise TimeoutError(f"not reached within {timeout} s; the proxy saw {self.stats}") from None
        return replace(self.stats)
