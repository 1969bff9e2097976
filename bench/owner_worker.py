"""A process that owns conversations and does nothing: ``python -m bench.owner_worker URL COUNT SECONDS``.

It prints the CPU seconds that keeping them took over that time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import redstate
from redstate.conversimple._ownership import Ownership
from redstate.conversimple._statistics import AgentStatistics
from redstate.conversimple._stores import Stores

_LEASE = 3.0


async def main() -> None:
    url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    async with redstate.AsyncStore.from_url(url) as store:
        statistics = AgentStatistics()
        quiet: dict[str, Any] = dict.fromkeys(("won", "lost", "expired", "mail"), lambda what: None)
        owner = Ownership(Stores(None, store), "bench", _LEASE, **quiet, statistics=statistics)
        owner.open(takes_over=True)
        await owner.join()
        for first in range(0, count, 500):
            await asyncio.gather(*[owner.hold(f"kept-{number}") for number in range(first, min(first + 500, count))])
        assert len(owner.all()) == count
        began = time.process_time()
        await asyncio.sleep(seconds)
        print(time.process_time() - began)
        # All of them are still its own, after several leases.
        for number in range(0, count, 97):
            assert await owner.hold(f"kept-{number}") is not None
        assert statistics.fenced == 0
        await owner.leave()


if __name__ == "__main__":
    asyncio.run(main())
