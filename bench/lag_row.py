"""How soon a process hears of what others change, and how much it hears that is nothing to it.

Versions are microseconds of the server's clock, which is this machine's, so the lag of a message is the time at which
the near cache has acted on it, less the version. A process of its own makes the changes, at 10,000 a second.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import redstate
from bench.bucket_channels import compared
from bench.measure import Line, Plan
from bench.servers import running, url_of
from redstate.nearcache.copies import Copies

_RATE = 10_000
_CUSTOMERS = 1_000
_P99_MS = 5.0
_REACHED = 0.98  # of the rate, below which the table says that it was not
_HELD, _PROCESSES = 200, 64
_TURNOVER = 0.05  # seconds after which another customer comes, so each stays for ten
_UNHELD = 10.0  # percent


def measure(plan: Plan) -> list[Line]:
    seconds = 2.0 if plan.quick else 8.0
    with running(plan.server) as server, redstate.Store.from_url(url_of(server)) as store:
        plan.say(f"invalidation lag at {_RATE:,} changes/s")
        lines = list(_lag(store, url_of(server), seconds))
    with (
        running(plan.server) as server,
        redstate.Store.from_url(url_of(server), near_cache_entries=_HELD) as store,
    ):
        plan.say("messages for what a process does not hold")
        lines.append(_unheld(store, url_of(server), seconds))
        keys = [_customer(store, number).key for number in range(_HELD * _PROCESSES)]
        return [*lines, *compared(server, keys, _HELD, plan)]


def _lag(store: redstate.Store, url: str, seconds: float) -> Iterator[Line]:
    copies = store.nearcache.local.copies
    _hold(store, range(_CUSTOMERS))
    with _noted(copies) as lags:
        made, took = _changes(url, seconds, _CUSTOMERS, lambda: None)
        until = time.monotonic() + 5
        while len(lags) < made and time.monotonic() < until:
            time.sleep(0.01)
    assert len(lags) >= made, f"{made - len(lags)} of {made} messages did not come"
    work = f"invalidation lag of {_CUSTOMERS:,} customers"
    reached = "" if made / took >= _REACHED * _RATE else ", NOT REACHED"
    yield Line(work, f"changes/s, of {_RATE:,} asked for{reached}", made / took, unit="/s")
    lags.sort()
    for name, share, target in (("p50", 0.5, None), ("p99", 0.99, _P99_MS), ("maximum", 1.0, None)):
        value = lags[min(len(lags) - 1, int(share * len(lags)))] / 1000
        yield Line(work, name, value, target, False, unit=" ms")


def _unheld(store: redstate.Store, url: str, seconds: float) -> Line:
    """The share of messages about customers that have no place in a process, whose customers come and go."""
    _hold(store, range(_HELD))
    others = iter(range(_HELD, _HELD * _PROCESSES))

    def turn_over() -> None:
        other = _customer(store, next(others))
        for _ in range(2):
            other.get("turns")

    before = store.nearcache.stats()
    made, took = _changes(url, seconds, _HELD * _PROCESSES, turn_over)
    after = store.nearcache.stats()
    unheld, held = after.unheld - before.unheld, after.invalidations - before.invalidations
    evicted = after.evictions - before.evictions
    assert evicted > 0 and held > 0, f"nothing came and went: {after}"
    return Line(
        f"messages for what a process does not hold, {_PROCESSES} processes with {_HELD} customers each",
        f"all that it receives, {evicted / took:.0f} customers/s come and go",
        100 * unheld / (unheld + held),
        _UNHELD,
        False,
        f"{(unheld + held) / took:.0f}/s of {made / took:,.0f}/s",
        unit=" %",
    )


def _customer(store: redstate.Store, number: int) -> redstate.Customer:
    return store.customer(f"lag-{number}")


def _hold(store: redstate.Store, numbers: Iterable[int]) -> None:
    """Read the customers until each has a place and a subscription."""
    customers = [_customer(store, number) for number in numbers]
    stands, until = store.nearcache.local.copies.stands, time.monotonic() + 10
    while not all(stands(customer.key) for customer in customers):
        assert time.monotonic() < until, f"not all are held: {store.nearcache.stats()}"
        for customer in customers:
            customer.get("turns")
        time.sleep(0.01)


@contextlib.contextmanager
def _noted(copies: Copies) -> Iterator[list[int]]:
    """The lags of all messages that come meanwhile, in microseconds."""
    lags: list[int] = []
    heard = copies.heard

    def noting(messages: Iterable[tuple[str, int | None]]) -> None:
        heard(messages)
        now = time.time_ns() // 1000
        lags.extend(now - version for _, version in messages if version is not None)

    copies.heard = noting
    try:
        yield lags
    finally:
        del copies.heard


def _changes(url: str, seconds: float, customers: int, meanwhile: Callable[[], None]) -> tuple[int, float]:
    """Have another process make changes. Returns how many it made, and the seconds that they took."""
    command = [sys.executable, "-m", "bench.lag_writer", url, str(seconds), str(_RATE), str(customers)]
    folder = Path(__file__).parents[1]
    worker = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdout.readline()  # it is ready
    worker.stdin.write("go\n")
    worker.stdin.flush()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            said, _ = worker.communicate(timeout=_TURNOVER)
            break
        meanwhile()
    assert worker.returncode == 0
    made, took = said.split()
    return int(made), float(took)
