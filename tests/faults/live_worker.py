"""A process of the restart test: adds to live values turn by turn, and prints each turn when it is done.

Usage: live_worker.py URL PREFIX COUNT
"""

from __future__ import annotations

import sys

from redstate import Store, errors


def main() -> None:
    url, prefix, count = sys.argv[1:]
    with Store.from_url(url, key_prefix=prefix, timeout=30.0) as store:
        conversation = store.conversation("c")
        for turn in range(int(count)):
            done = False
            while not done:
                try:
                    with conversation.transaction():
                        if turn not in conversation.state["turns"]:
                            conversation.state["turns"].append(turn)
                            conversation.state["nested"]["n"] += 1
                    done = True
                except (errors.StoreError, errors.OutcomeUnknown, errors.ConflictError):
                    continue  # asked again, the state says whether it took effect
            print(turn, flush=True)


if __name__ == "__main__":
    main()
