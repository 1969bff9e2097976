"""What a near cache counts, and what it tells of that."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_LAGS_KEPT = 512


@dataclass(frozen=True, slots=True)
class NearCacheStats:
    """What the near cache of a process did since the process began, for all stores of one server and prefix.

    Attributes:
        serving: whether reads can be answered from memory now.
        entries: records and values of which there is a place in memory; each has a subscription.
        bytes: about how much memory the copies take.
        hits: reads that memory answered.
        misses: reads that fetched a copy from the server.
        joins: reads that waited for the copy that another read was fetching.
        bypasses: reads that went past the memory, by reason: "fresh" (asked for), "min_version" (the copy was older),
            "subscribing" (the first reads of a record), "disconnected" (there is no subscription), "silent" (no
            heartbeat came back in time), "too large", "undecided" (only the server can say), "off" (the store has
            ``max_staleness=0``).
        evictions: places that were given up for others.
        invalidations: messages about a record that has a place here.
        unheld: messages about records that have none.
        late_fills: replies that were not kept, because the record was changed while they were on their way.
        drops: how often everything was dropped, since messages may have been missed.
        reconnects: how often the subscriber connected again.
        audits: copies that were compared with the server.
        audit_mismatches: how many of them were not what they should be; they were dropped.
        echo_age: seconds since the last heartbeat that came back was sent; None where none did.
        lag_median, lag_p99: seconds that the last 512 heartbeats took, the way that invalidations go; None without any.
    """

    serving: bool
    entries: int
    bytes: int
    hits: int
    misses: int
    joins: int
    bypasses: dict[str, int]
    evictions: int
    invalidations: int
    unheld: int
    late_fills: int
    drops: int
    reconnects: int
    audits: int
    audit_mismatches: int
    echo_age: float | None
    lag_median: float | None
    lag_p99: float | None


@dataclass(slots=True)
class Counters:
    """What is counted on the way. Plain attributes: a hit has no time for more."""

    hits: int = 0
    misses: int = 0
    joins: int = 0
    evictions: int = 0
    invalidations: int = 0
    unheld: int = 0
    late_fills: int = 0
    drops: int = 0
    connects: int = 0
    audits: int = 0
    audit_mismatches: int = 0
    bypasses: dict[str, int] = field(default_factory=dict)
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=_LAGS_KEPT))

    def bypassed(self, reason: str) -> None:
        """A read went past the memory."""
        self.bypasses[reason] = self.bypasses.get(reason, 0) + 1

    def lag(self, share: float) -> float | None:
        """The lag that so large a share of the last heartbeats did not exceed."""
        lags = sorted(self.lags)
        return lags[min(len(lags) - 1, int(share * len(lags)))] if lags else None
