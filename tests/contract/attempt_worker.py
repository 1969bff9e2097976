"""A process of the tests: four threads attempt to log in as one user, then it prints how many attempts passed."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from redstate import Store, errors

THREADS, EACH = 4, 5


def main(url: str, prefix: str, conversation_of: str, limit: str) -> None:
    with Store.from_url(url, key_prefix=prefix, timeout=60) as store:
        store.ping()
        start = threading.Barrier(THREADS)
        print("ready", flush=True)
        sys.stdin.readline()

        def passed(thread: int) -> int:
            # Either all in one conversation, or each attempt in a conversation of its own.
            start.wait(10)
            count = 0
            for turn in range(EACH):
                name = f"{conversation_of}-{thread}-{turn}" if conversation_of != "one" else "one"
                try:
                    store.conversation(name).session.attempt("ada", limit=int(limit))
                    count += 1
                except errors.TooManyAttempts:
                    continue
            return count

        with ThreadPoolExecutor(THREADS) as threads:
            print(sum(threads.map(passed, range(THREADS))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
