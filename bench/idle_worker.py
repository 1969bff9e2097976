"""A process that holds a near cache and does nothing: ``python -m bench.idle_worker URL STALENESS SECONDS``.

It prints the CPU seconds that it took over that time.
"""

from __future__ import annotations

import sys
import time

import redstate

_HELD = 200


def main() -> None:
    url, staleness, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    with redstate.Store.from_url(url, max_staleness=staleness) as store:
        states = [store.conversation(f"idle-{number}").state for number in range(_HELD)]
        for state in states:
            state.set("field", "value")
        until = time.monotonic() + 10
        # Those without a near cache never get one; the others have their first heartbeat and their subscriptions.
        while staleness and store.nearcache.stats().misses < _HELD:
            assert time.monotonic() < until, f"nothing is held: {store.nearcache.stats()}"
            for state in states:
                state.get("field")
            time.sleep(0.05)
        began = time.process_time()
        time.sleep(seconds)
        print(time.process_time() - began)


if __name__ == "__main__":
    main()
