"""Running calls: archive_caller.py URL ARCHIVE RATE SECONDS; tells p50 and p99 of their writes, in microseconds.

Writes begin when they are due, whether those before are through or not, and count from then.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys

import redstate

_CONVERSATIONS = 200


async def main() -> None:
    url, archive, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    loop, chosen, taken = asyncio.get_running_loop(), random.Random(1), []
    async with redstate.AsyncStore.from_url(url, archive=archive, max_staleness=0) as store:
        talks = [store.conversation(f"running-{number}") for number in range(_CONVERSATIONS)]
        for talk in talks:
            await talk.state.set("turns", 0)

        async def write(due: float) -> None:
            await chosen.choice(talks).state.set("turns", 14)
            taken.append(loop.time() - due)

        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                group.create_task(write(due))
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    print(cuts[49] * 1e6, cuts[98] * 1e6)


if __name__ == "__main__":
    asyncio.run(main())
