"""A process of the cache's tests.

Usage: cache_worker.py URL PREFIX crowd|failing|hanging sync|async COUNT

crowd: COUNT threads or tasks ask for one key at once. Each notes that it asks, and the loader returns only when all of
the test's askers have done so. failing: so too, but the first two loads raise. hanging: one asks, and its loader never
returns. Prints what each got, or "loading".
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from redstate import AsyncStore, Store

CALLERS = 16  # of all processes of a test
LEASE = 60.0
SHORT_LEASE = 0.5


def run_sync(url: str, prefix: str, mode: str, count: int) -> list[str]:
    with Store.from_url(url, key_prefix=prefix, timeout=60.0) as store:
        counters = store.conversation("counters").state

        def load() -> str:
            number = counters.increment("loads")
            if mode == "hanging":
                print("loading", flush=True)
                threading.Event().wait()
            while counters.get("asking") < CALLERS:
                pass
            if mode == "failing" and number <= 2:
                raise LookupError(f"load {number}")
            return f"load {number}"

        def ask() -> str:
            counters.increment("asking")
            try:
                return store.cache.get_or_set("k", load, lease=SHORT_LEASE if mode == "hanging" else LEASE)
            except LookupError as error:
                return f"raised {error}"

        with ThreadPoolExecutor(count) as pool:
            return [asked.result() for asked in [pool.submit(ask) for _ in range(count)]]


async def run_async(url: str, prefix: str, mode: str, count: int) -> list[str]:
    async with AsyncStore.from_url(url, key_prefix=prefix, timeout=60.0) as store:
        counters = store.conversation("counters").state

        async def load() -> str:
            number = await counters.increment("loads")
            if mode == "hanging":
                print("loading", flush=True)
                await asyncio.Event().wait()
            while await counters.get("asking") < CALLERS:
                pass
            if mode == "failing" and number <= 2:
                raise LookupError(f"load {number}")
            return f"load {number}"

        async def ask() -> str:
            await counters.increment("asking")
            try:
                return await store.cache.get_or_set("k", load, lease=SHORT_LEASE if mode == "hanging" else LEASE)
            except LookupError as error:
                return f"raised {error}"

        return await asyncio.gather(*(ask() for _ in range(count)))


def main() -> None:
    url, prefix, mode, colour, count = sys.argv[1:]
    arguments = (url, prefix, mode, int(count))
    found = run_sync(*arguments) if colour == "sync" else asyncio.run(run_async(*arguments))
    print("\n".join(found))


if __name__ == "__main__":
    main()
