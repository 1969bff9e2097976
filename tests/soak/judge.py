"""Judges reads: how old was what they returned, and did the process go back behind what it knew?"""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from soak.ledger import Ledger, now

OLD, BACKWARDS, OWN, FRESH = "older than D", "backwards", "own write unseen", "fresh read not fresh"
KINDS = (OLD, BACKWARDS, OWN, FRESH)

PER_DECADE = 20
SHORTEST, DECADES = 1e-6, 8
"""Ages from a microsecond to a hundred seconds, in buckets of one ratio; the first one holds what is shorter."""

_MOST_EXAMPLES = 20


def bucket(age: float) -> int:
    """The bucket of an age."""
    if age <= SHORTEST:
        return 0
    return min(PER_DECADE * DECADES, 1 + int(math.log10(age / SHORTEST) * PER_DECADE))


def upper_end(number: int) -> float:
    """The longest age in a bucket, in seconds."""
    return SHORTEST * math.pow(10.0, number / PER_DECADE)


class Known:
    """What a process knows of each counter: what a completed read returned, and what its own writes made of it."""

    def __init__(self, keys: int) -> None:
        self.seen = [0] * keys
        self.own = [0] * keys
        self._lock = threading.Lock()

    def raise_to(self, what: list[int], key: int, value: int) -> None:
        """It is known to be at least that from now on."""
        if value > what[key]:
            with self._lock:
                what[key] = max(what[key], value)


@dataclass(frozen=True)
class Begun:
    """What was known, and when, before a read began."""

    seen: int
    own: int
    at: float


@dataclass
class Counts:
    """What reads came to. ``ages`` has the stale ones by bucket; ``examples`` tells of the first violations."""

    reads: int = 0
    fresh_reads: int = 0
    stale: int = 0
    oldest: float = 0.0
    ages: list[int] = field(default_factory=lambda: [0] * (PER_DECADE * DECADES + 1))
    violations: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: dict[str, Any]) -> None:
        """Take in the counts of others, as ``asdict`` has them."""
        self.reads += other["reads"]
        self.fresh_reads += other["fresh_reads"]
        self.stale += other["stale"]
        self.oldest = max(self.oldest, other["oldest"])
        self.ages = [mine + theirs for mine, theirs in zip(self.ages, other["ages"], strict=True)]
        for kind, count in other["violations"].items():
            self.violations[kind] += count
        self.examples += other["examples"][: _MOST_EXAMPLES - len(self.examples)]

    def percentile(self, share: float) -> float:
        """The age that so large a share of the stale reads did not exceed, rounded up to the end of its bucket."""
        left = share * self.stale
        for number, count in enumerate(self.ages):
            left -= count
            if left <= 0:
                return min(upper_end(number), self.oldest)
        return self.oldest


class Judge:
    """The judge of one reader; each thread and task has its own.

    Args:
        name: of the reader, for reports.
        ledger: what was acknowledged.
        known: what the process knows.
        longest: D, in seconds.
    """

    def __init__(self, name: str, ledger: Ledger, known: Known, longest: float) -> None:
        self.counts = Counts()
        self._name = name
        self._ledger = ledger
        self._known = known
        self._longest = longest

    def begin(self, key: int) -> Begun:
        """A read of a counter begins now."""
        known = self._known
        return Begun(known.seen[key], known.own[key], now())

    def end(self, key: int, value: int, begun: Begun, *, fresh: bool = False) -> None:
        """The read has returned ``value``. One that asked the server may not be stale at all."""
        counts = self.counts
        age, greater = self._ledger.age(key, value, begun.at)
        if fresh:
            counts.fresh_reads += 1
        else:
            counts.reads += 1
            if age > 0:
                counts.stale += 1
                counts.ages[bucket(age)] += 1
                counts.oldest = max(counts.oldest, age)
        if age > (0 if fresh else self._longest):
            self._violated(FRESH if fresh else OLD, key, value, begun, age=age, greater=greater)
        if value < begun.seen:
            self._violated(BACKWARDS, key, value, begun)
        if value < begun.own:
            self._violated(OWN, key, value, begun)
        self._known.raise_to(self._known.seen, key, value)

    def _violated(self, kind: str, key: int, value: int, begun: Begun, **more: float) -> None:
        self.counts.violations[kind] += 1
        if len(self.counts.examples) < _MOST_EXAMPLES:
            what = {"kind": kind, "reader": self._name, "key": key, "value": value}
            self.counts.examples.append({**what, **asdict(begun), "ended": now(), **more})
