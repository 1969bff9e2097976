"""Threads that share one sync store: how much they get done together, against one alone. It only informs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redstate
from bench.measure import Line, Plan, figures, interleave, ratios, wall_times
from bench.servers import running, url_of

_THREADS = 8
_OPS = 800  # of all threads together, in one slice
_SLICES = 4


def measure(plan: Plan) -> list[Line]:
    work = f"sync cart adds, {_THREADS} threads share a store"
    plan.say(work)
    with (
        running(plan.server) as server,
        redstate.Store.from_url(url_of(server)) as store,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        adders = [_adder(store, f"thread-{number}") for number in range(_THREADS)]
        alone = _adder(store, "alone")

        def together() -> int:
            return sum(pool.map(lambda add: add(_OPS // _THREADS), adders))

        contenders = {"together": together, "alone": lambda: alone(_OPS)}
        for warm_up in contenders.values():
            warm_up()
        samples = interleave(contenders, plan.rounds * plan.scaled(_SLICES))
    value, spread = ratios(wall_times(samples["alone"]), wall_times(samples["together"]))
    ours, theirs = figures(samples["together"]), figures(samples["alone"])
    return [Line(work, "one thread's rate", value, None, True, ours, theirs, spread=spread)]


def _adder(store: redstate.Store, name: str) -> Callable[[int], int]:
    add = store.conversation(name).cart.add

    def adds(count: int) -> int:
        for _ in range(count):
            add("sku", 1, "19.99")
        return count

    return adds
