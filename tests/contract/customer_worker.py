"""A process of the customer tests: eight threads merge the same conversations and append to one capped list.

Usage: customer_worker.py URL PREFIX NAME. It says "ready", waits for a line, and prints one JSON list: the
conversations that its threads merged.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redstate import Store

THREADS, CONVERSATIONS, APPENDS, CAP = 8, 4, 4, 10


def visited(profile: dict[str, Any]) -> dict[str, Any]:
    """Two fields that only agree if every merge saw the one before."""
    visits = profile.get("visits", 0) + 1
    return {"visits": visits, "log": [*profile.get("log", []), visits]}


def work(store: Store, start: threading.Barrier, name: str, number: int) -> list[str]:
    """Merge each conversation, which others do too, and append in between. Returns what this thread merged."""
    customer, merged = store.customer("cust_9"), []
    start.wait(30)
    for turn in range(CONVERSATIONS):
        conversation_id = f"conv-{(turn + number) % CONVERSATIONS}"
        if customer.merge_conversation(conversation_id, visited):
            merged.append(conversation_id)
        customer.append("seen", [f"{name}-{number}", turn], cap=CAP)
        customer.add_history("seen", by=f"{name}-{number}", turn=turn)
    return merged


def main() -> None:
    url, prefix, name = sys.argv[1:]
    with Store.from_url(url, key_prefix=prefix, timeout=60.0) as store, ThreadPoolExecutor(THREADS) as threads:
        store.ping()
        start = threading.Barrier(THREADS)
        print("ready", flush=True)
        sys.stdin.readline()
        found = list(threads.map(lambda number: work(store, start, name, number), range(THREADS)))
    print(json.dumps([merged for each in found for merged in each]))


if __name__ == "__main__":
    main()
