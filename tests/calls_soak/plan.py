"""How long and how hard a soak of tool calls is."""

from __future__ import annotations

from dataclasses import dataclass

LEASE = 3.0
"""Seconds; the agents' own default."""

WORKERS = 4

# What each tool leaves behind, once for each call: in its conversation, and in the customer that the call names.
OWN_EFFECTS = {
    "cart": ("cart",),
    "count": ("count",),
    "note": ("note",),
    "tally": ("tally",),
    "complain": ("complain",),
    "points": (),
    "trip": ("trip-out", "trip-cart", "trip-step", "trip-back"),
    "errand": ("errand-out", "errand-cart", "errand-back"),
    "work": ("work-begun", "work-done"),
    "where": ("where",),
}
CUSTOMER_EFFECTS = {"points": ("points",), "trip": ("trip-profile",), "errand": ("errand-profile",)}
FAILING = "complain"
MIXED = ("cart", "count", "note", "tally", "complain", "points", "trip", "trip", "errand", "errand")
"""The tools of the soak, each as often as its share."""


@dataclass(frozen=True)
class Plan:
    """A run of the soak.

    Attributes:
        calls: how many there are, at least; conversations that have begun are gone through with.
        redelivered: share of the calls that are sent once more, half of these while they run.
        lost_replies: share of the answers to EVALSHA that are lost with their connections.
        kills_apart, stops_apart: between how many seconds lie, at least and at most; without any where None.
        broadcast: whether each call is sent to all agents.
        conversations: how many there are at a time.
        calls_each: how many calls each conversation has.
        pairs: share of the calls that have another one of their conversation beside them.
        sharing: how many conversations share a customer. A customer's record remembers the 256 tool calls that changed
            it last: more of them while a worker is found dead or stands still, and a call that is run again could
            change the customer twice.
        seed: of all that is left to chance, as far as processes let themselves be repeated.
        progress: calls between lines that tell how far it is; 0 without any.
    """

    calls: int
    redelivered: float = 0.1
    lost_replies: float = 0.05
    kills_apart: tuple[float, float] | None = (2.0, 5.0)
    stops_apart: tuple[float, float] | None = (8.0, 16.0)
    broadcast: bool = False
    conversations: int = 64
    calls_each: int = 50
    pairs: float = 0.2
    sharing: int = 8
    seed: int = 20_240
    progress: int = 0
