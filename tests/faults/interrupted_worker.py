"""A process whose blocking calls are interrupted by a timer signal, as by Ctrl-C, at random moments.

Usage: interrupted_worker.py URL PREFIX
"""

from __future__ import annotations

import random
import signal
import sys

from redstate import Store

INTERRUPTS = 300


def main() -> None:
    url, prefix = sys.argv[1:]
    chance = random.Random(5)
    interrupted = attempted = acknowledged = 0

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    with Store.from_url(url, key_prefix=prefix, timeout=20.0, max_in_flight=4) as store:
        states = [store.conversation(f"c{number}").state for number in range(7)]
        for number, state in enumerate(states):
            state.update(name=f"c{number}", n=0)
        while interrupted < INTERRUPTS:
            number = (attempted + interrupted) % len(states)
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00005, 0.001))
                while True:
                    attempted += 1
                    states[number].increment("n")
                    acknowledged += 1
                    assert states[number].get("name") == f"c{number}"
            except KeyboardInterrupt:
                interrupted += 1
        stored = sum(state.get("n") for state in states)
    print(interrupted, attempted, acknowledged, stored)


if __name__ == "__main__":
    main()
