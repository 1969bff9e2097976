"""A process of the checkout test: eight threads add to one cart until it is frozen, and check it out as they go.

Usage: checkout_worker.py URL PREFIX. It says "ready", waits for a line, and prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from redstate import Store, errors

THREADS, ORDER_IDS, ADDS = 8, 3, 5


def work(store: Store, start: threading.Barrier, number: int) -> tuple[int, list[str], str]:
    """How many adds were accepted, the id and time of the order that was got, and the id that refused it."""
    cart = store.conversation("c").cart
    start.wait(30)
    accepted, frozen_by = 0, ""
    for _ in range(ADDS + number):
        try:
            cart.add("sku", 1, "0.10", attributes={"by": number})
        except errors.CartFrozen as refused:
            frozen_by = refused.order_id
            break
        accepted += 1
    try:
        order = cart.checkout(f"order-{number % ORDER_IDS}")
    except errors.CartFrozen as refused:
        return accepted, [], refused.order_id
    return accepted, [order.order_id, order.placed_at.isoformat(), str(order.total), str(order.count)], frozen_by


def main() -> None:
    url, prefix = sys.argv[1:]
    with Store.from_url(url, key_prefix=prefix, timeout=60.0) as store, ThreadPoolExecutor(THREADS) as threads:
        store.ping()
        start = threading.Barrier(THREADS)
        print("ready", flush=True)
        sys.stdin.readline()
        found = list(threads.map(lambda number: work(store, start, number), range(THREADS)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
