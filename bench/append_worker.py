"""One process of the race of :mod:`bench.append_row`: ``python -m bench.append_worker WAY URL THREADS EACH``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import redis

import redstate
from bench.append_row import append_as_the_guide, item


def main() -> None:
    way, url, threads, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with redstate.Store.from_url(url) as store, redis.Redis.from_url(url, decode_responses=True) as client:
        state = store.conversation("shared").state

        def append(_: int) -> None:
            for number in range(each):
                if way == "redstate":
                    state["cart"].append(item(number))
                else:
                    append_as_the_guide(client, "conversation:shared", item(number))

        print("ready", flush=True)
        sys.stdin.readline()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(append, range(threads)))


if __name__ == "__main__":
    main()
