"""One sweeper: archive_worker.py URL ARCHIVE; tells how many conversations it archived, and in how many seconds.

With a third word it goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import time

import redstate
from redstate._child import loop_factory
from redstate.archive.process import SweepSettings
from redstate.archive.sweeper import Sweeper

TOMBSTONE = 2.0


async def main() -> None:
    # As ``redstate sweep`` does it: whoever serves callers comes first.
    SweepSettings().stand_back()
    url, archive, *forever = sys.argv[1:]
    async with redstate.AsyncStore.from_url(url, archive=archive, tombstone_ttl=TOMBSTONE, timeout=30.0) as store:
        sweeper = Sweeper(store)
        if forever:
            await sweeper.run()
        began, cpu = time.perf_counter(), time.process_time()
        archived = await sweeper.sweep()
        print(archived, time.perf_counter() - began, time.process_time() - cpu)


if __name__ == "__main__":
    # As the product's own process does it.
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
