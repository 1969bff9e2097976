"""Changes customers at a steady rate, for :mod:`bench.lag_row`.

``python -m bench.lag_writer URL SECONDS RATE CUSTOMERS``; the customers are ``lag-0`` and up, chosen at random. It says
``ready``, waits for a line, and prints how many changes it made and the seconds that they took.

Open loop: what is due is begun every millisecond, whether or not what was begun before has been answered, so that a
server that hesitates is not spared.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any

import redstate

TICK = 0.001
_MOST_AT_ONCE = 2_000  # begun and not answered: beyond that the rate is not reached, and the bench says so


async def write(url: str, seconds: float, rate: int, customers: int) -> tuple[int, float]:
    async with redstate.AsyncStore.from_url(url, max_staleness=0) as store:
        changes = [store.customer(f"lag-{number}").state.increment for number in range(customers)]
        for change in changes[:100]:
            await change("turns")
        print("ready", flush=True)
        sys.stdin.readline()
        return await _pace(changes, seconds, rate)


async def _pace(
    changes: Sequence[Callable[[str], Coroutine[Any, Any, int]]], seconds: float, rate: int
) -> tuple[int, float]:
    chosen = random.Random(1)
    under_way: set[asyncio.Task[int]] = set()
    create, random_change = asyncio.get_running_loop().create_task, chosen.choice
    made, now, began = 0, 0.0, perf_counter()
    while now < seconds:
        due = min(int(now * rate) - made, _MOST_AT_ONCE - len(under_way))
        for _ in range(due):
            task = create(random_change(changes)("turns"))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        made += max(0, due)
        # To the next tick of the clock, so that lateness does not add up.
        now = perf_counter() - began
        await asyncio.sleep(TICK - now % TICK)
        now = perf_counter() - began
    await asyncio.gather(*under_way)
    return made, perf_counter() - began


def main() -> None:
    url, seconds, rate, customers = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    run = asyncio.run
    with contextlib.suppress(ImportError):
        # It is the load, not what is measured: the less it takes of the machine, the better.
        import uvloop

        run = uvloop.run
    made, took = run(write(url, seconds, rate, customers))
    print(made, took)


if __name__ == "__main__":
    main()
