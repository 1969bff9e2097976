"""One worker process: ``python -m redstate.demo.worker``, started by the pool.

Its settings come as one JSON line on stdin, where no list of processes shows them. The end of stdin ends the worker,
so it never outlives the demo, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

from redstate import AsyncStore, Store
from redstate.demo.pool import WorkerSettings
from redstate.demo.shop import Shop


async def work(settings: WorkerSettings) -> None:
    """Serve until stdin ends."""
    url, prefix, ttl = settings.store_url, settings.key_prefix, settings.ttl
    with Store.from_url(url, key_prefix=prefix, ttl=ttl) as store:
        async with AsyncStore.from_url(url, key_prefix=prefix, ttl=ttl) as async_store:
            agent = Shop(
                worker=settings.number,
                api_key=settings.api_key,
                customer_id="demo",
                platform_url=settings.platform_url,
                store=store,
                async_store=async_store,
            )
            await agent.start()
            await _end_of_stdin()
            await agent.stop()


async def _end_of_stdin() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


if __name__ == "__main__":
    asyncio.run(work(WorkerSettings(**json.loads(sys.stdin.readline()))))
