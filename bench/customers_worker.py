"""The other process of :mod:`bench.customers_row`: ``python -m bench.customers_worker URL``.

Each line that it reads names a key prefix, a customer, how many changes to make, and the seconds between them. It
answers with a line: a JSON list with the version of each change and the time at which the call returned, in
nanoseconds since 1970.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

import redstate


def main() -> None:
    stores: dict[str, redstate.Store] = {}
    with ExitStack() as stack:
        for line in sys.stdin:
            prefix, customer_id, count, pause = line.split()
            if prefix not in stores:
                store = redstate.Store.from_url(sys.argv[1], key_prefix=prefix, max_staleness=0)
                stores[prefix] = stack.enter_context(store)
            state = stores[prefix].customer(customer_id).state
            made = []
            for _ in range(int(count)):
                version = state.set("changed", time.time_ns())
                made.append((version, time.time_ns()))
                time.sleep(float(pause))
            print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
