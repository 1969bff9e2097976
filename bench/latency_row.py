"""Whether a cart add takes longer among many conversations: two servers, one small, one large, in turn."""

from __future__ import annotations

import random
import statistics
from time import perf_counter_ns

import redstate
from bench.measure import Line, Plan, ratios, turns
from bench.servers import SERVER_CORE, pinned, running
from bench.typical import CART, conversation_id, copy, written

_SMALL = 10**3
_OPS = 500
_SLICES = 8
_TARGET = 1.2


def measure(plan: Plan) -> list[Line]:
    size = 10**6 if plan.full else 10**4 if plan.quick else 10**5
    plan.say(f"latency of an add among {_SMALL:,} and {size:,} conversations")
    with (
        running(plan.server) as small,
        running(plan.server) as large,
        written(small) as few,
        written(large) as many,
    ):
        copy(small, few, 1, _SMALL + 1)
        copy(large, many, 1, size + 1)
        with pinned(SERVER_CORE):
            stores = {_SMALL: few, size: many}
            found = _interleave(stores, plan.rounds * plan.scaled(_SLICES))
    lines = []
    for name, target in (("p50", None), ("p99", _TARGET)):
        above, below = ([slice_[name] for slice_ in found[number]] for number in (size, _SMALL))
        value, spread = ratios(above, below)
        lines.append(
            Line(
                f"{name} of an add among {size:,} conversations",
                f"among {_SMALL:,}",
                value,
                target,
                False,
                f"{statistics.median(above):6.1f} us",
                f"{statistics.median(below):6.1f} us",
                spread=spread,
            )
        )
    return lines


def _interleave(stores: dict[int, redstate.Store], count: int) -> dict[int, list[dict[str, float]]]:
    found: dict[int, list[dict[str, float]]] = {size: [] for size in stores}
    chosen = random.Random(1)
    for name in turns([str(size) for size in stores], count):
        size = int(name)
        found[size].append(_slice(stores[size], size, chosen))
    return found


def _slice(store: redstate.Store, size: int, chosen: random.Random) -> dict[str, float]:
    """Adds to random conversations. Each copy knows this writer and has the line, so all adds do equal work."""
    sku, quantity, price = CART[0]
    carts = [store.conversation(conversation_id(chosen.randint(1, size))).cart for _ in range(_OPS)]
    taken = []
    for cart in carts:
        began = perf_counter_ns()
        cart.add(sku, quantity, price)
        taken.append((perf_counter_ns() - began) / 1000)
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}
