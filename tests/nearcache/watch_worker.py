"""A process that watches a customer: prints a line for each change that it is told of, until its input ends.

Usage: watch_worker.py URL PREFIX sync|async CUSTOMER
"""

from __future__ import annotations

import asyncio
import json
import sys

from redstate import AsyncStore, CustomerChange, Store


def tell(change: CustomerChange) -> None:
    told = [change.customer_id, change.old_version, change.new_version, change.changed, list(change.removed)]
    print(json.dumps(told), flush=True)


def watch_blocking(url: str, prefix: str, customer_id: str) -> None:
    with Store.from_url(url, key_prefix=prefix) as store, store.customer(customer_id).on_change(tell):
        print("ready", flush=True)
        sys.stdin.read()


async def watch_awaited(url: str, prefix: str, customer_id: str) -> None:
    async def tell_awaited(change: CustomerChange) -> None:
        await asyncio.sleep(0)
        tell(change)

    async with AsyncStore.from_url(url, key_prefix=prefix) as store:
        with await store.customer(customer_id).on_change(tell_awaited):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    url, prefix, colour, customer_id = sys.argv[1:]
    if colour == "sync":
        watch_blocking(url, prefix, customer_id)
    else:
        asyncio.run(watch_awaited(url, prefix, customer_id))
