"""A process of the race on live values: several threads change one conversation in every way; prints what they took.

Usage: live_worker.py URL PREFIX NUMBER THREADS TURNS
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from redstate import Store, errors


def main() -> None:
    url, prefix, *numbers = sys.argv[1:]
    process, threads, turns = map(int, numbers)
    start = threading.Barrier(threads)
    with Store.from_url(url, key_prefix=prefix, timeout=60.0) as store, ThreadPoolExecutor(threads) as pool:
        shared = store.conversation("c")
        kept = shared.state["nested"]  # one live value in the hands of all threads

        def work(thread: int) -> list[str]:
            # Half of them with a handle of their own.
            conversation = shared if thread % 2 else store.conversation("c")
            start.wait(30)
            return [line for turn in range(turns) for line in change(conversation, kept, f"{process}-{thread}-{turn}")]

        for lines in pool.map(work, range(threads)):
            print("\n".join(lines))


def change(conversation: Any, kept: Any, name: str) -> list[str]:
    """One turn; returns what it took, or won."""
    state, taken = conversation.state, []
    state["appended"].append(name)
    state["n"] += 1
    state["f"] += 0.5
    state["m"] += Decimal("0.01")
    state["nested"]["n"] += 1
    kept["deep"]["m"] += Decimal("0.01")
    kept["deep"]["l"].append(name)
    state["nested"]["keys"][name] = True
    state["rows"][0]["n"] += 1
    if state.setdefault(f"first-{name.rpartition('-')[2]}", name) == name:
        taken.append(f"root {name}")
    if kept["first"].setdefault(name.rpartition("-")[2], name) == name:
        taken.append(f"nested {name}")
    taken.append(f"item {state['stock'].pop()}")
    taken.append(f"item {kept['stock'].pop(0)}")
    in_a_transaction(conversation, name)
    return taken


def in_a_transaction(conversation: Any, name: str) -> None:
    """Move a coin, and say so: both or neither."""
    state = conversation.state
    while True:
        try:
            with conversation.transaction():
                if name.endswith("0"):
                    state["appended"].append(f"blind {name}")  # is replayed, never in conflict
                else:
                    state["purse"] -= 1
                    state["safe"] += 1
                    state["appended"].append(f"coin {name}")
            return
        except errors.ConflictError:
            continue


if __name__ == "__main__":
    main()
