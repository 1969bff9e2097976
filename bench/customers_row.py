"""A customer that another process changes: the first read after that, what the server does for it, and callbacks.

Both strategies of ``customer_sync`` are measured in turn: "invalidate" fetches the customer when it is read again,
"update" as soon as it has changed. The read comes a few milliseconds after the change, when both are done.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any, Literal

import redis

import redstate
from bench.measure import Line, Plan, ratios, turns
from bench.servers import admin, cpu_seconds, running, url_of

_CHANGES = 20  # in one slice
_SLICES = 2
_PER_READ = (1, 10)  # changes
_SETTLED = 0.003  # seconds that the change has been heard of when the customer is read
_STRATEGIES: tuple[Literal["invalidate", "update"], ...] = ("invalidate", "update")
_CALLBACKS = 400
_CALLBACK_PAUSE = 0.01
_P99_MS = 5.0
_PROFILE = {"name": "Ada Lovelace", "tier": "gold", "topics": ["opening hours", "refund"], "orders": 14, "changed": 0}


@dataclass(frozen=True, slots=True)
class Slice:
    """What some changes cost: the reads after them, in seconds; the server's commands and microseconds for a change."""

    read: float
    commands: float
    server_us: float


class Other:
    """The process that changes customers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str) -> Other:
        command = (sys.executable, "-m", "bench.customers_worker", url)
        pipe, folder = asyncio.subprocess.PIPE, Path(__file__).parents[1]
        # The answer is one line, however many changes it is about.
        return cls(await asyncio.create_subprocess_exec(*command, cwd=folder, stdin=pipe, stdout=pipe, limit=2**24))

    async def change(self, prefix: str, count: int = 1, pause: float = 0.0) -> list[tuple[int, int]]:
        """Have it change its customer. Returns versions, and the times at which the calls returned."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{prefix} ada {count} {pause}\n".encode())
        return [tuple(pair) for pair in json.loads(await self._process.stdout.readline())]

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def measure(plan: Plan) -> list[Line]:
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> list[Line]:
    lines: list[Line] = []
    with running(plan.server) as server, admin(server) as client:
        async with AsyncExitStack() as stack:
            stores: dict[str, redstate.AsyncStore] = {}
            for sync in _STRATEGIES:
                # A prefix of its own, as stores of one prefix share a near cache.
                store = redstate.AsyncStore.from_url(url_of(server), key_prefix=sync, customer_sync=sync)
                stores[sync] = await stack.enter_async_context(store)
            other = await Other.start(url_of(server))
            stack.push_async_callback(other.close)
            for store in stores.values():
                await _hold(store)
            for per_read in _PER_READ:
                plan.say(f"customers that others change, {_often(per_read)}")
                lines += _lines(per_read, await _interleave(stores, other, client, per_read, plan))
            plan.say("callbacks for changes of customers")
            lines += await _callbacks(stores["invalidate"], other, plan.scaled(_CALLBACKS))
    return lines


async def _hold(store: redstate.AsyncStore) -> None:
    customer = store.customer("ada")
    await customer.update(_PROFILE)
    async with asyncio.timeout(10):
        while not store.nearcache.stats().hits:
            await customer.get("name")
            await asyncio.sleep(0.01)


async def _interleave(
    stores: dict[str, redstate.AsyncStore], other: Other, client: redis.Redis, per_read: int, plan: Plan
) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {sync: [] for sync in stores}
    for sync, store in stores.items():
        await _slice(store, other, client, sync, per_read)
    for sync in turns(list(stores), plan.rounds * plan.scaled(_SLICES)):
        found[sync].append(await _slice(stores[sync], other, client, sync, per_read))
    return found


async def _slice(store: redstate.AsyncStore, other: Other, client: redis.Redis, sync: str, per_read: int) -> Slice:
    customer, stats, taken = store.customer("ada"), store.nearcache.stats, []
    heard, before = stats().invalidations, _work(client)
    for number in range(_CHANGES):
        await other.change(sync)
        await _until(lambda now=number: stats().invalidations > heard + now)
        await asyncio.sleep(_SETTLED)
        if number % per_read == 0:
            began = perf_counter()
            await customer.get("changed")
            taken.append(perf_counter() - began)
    commands, spent = (now - then for now, then in zip(_work(client), before, strict=True))
    # What asking for these figures takes is the same for both, and not taken off: a few commands in so many changes.
    return Slice(statistics.median(taken), commands / _CHANGES, spent / _CHANGES)


async def _until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 - the listener, a thread, counts and sets no event
            await asyncio.sleep(0.0005)


def _work(client: redis.Redis) -> tuple[int, float]:
    """What the server has done so far: commands, those of scripts included, and microseconds of its CPU."""
    stats: Any = client.info("stats")
    return stats["total_commands_processed"], 1e6 * cpu_seconds(client)


def _often(per_read: int) -> str:
    return f"{per_read} change{'s' * (per_read > 1)} for a read"


def _lines(per_read: int, found: dict[str, list[Slice]]) -> Iterator[Line]:
    """How "update" compares with "invalidate"; the left figures are its own."""
    work = f"a customer that others change, {_often(per_read)}"
    for name, unit, figure, faster in (
        ("first read after it, times faster", "us", lambda one: 1e6 * one.read, True),
        ("commands of the server for a change", "commands", lambda one: one.commands, False),
        ("CPU of the server for a change", "us", lambda one: one.server_us, False),
    ):
        fetched, there = ([figure(one) for one in found[sync]] for sync in _STRATEGIES)
        value, spread = ratios(fetched, there) if faster else ratios(there, fetched)
        shown = [f"{statistics.median(figures):.1f} {unit}" for figures in (there, fetched)]
        yield Line(
            work, f'"update" against "invalidate": {name}', value, None, faster, shown[0], shown[1], spread=spread
        )


async def _callbacks(store: redstate.AsyncStore, other: Other, count: int) -> Iterator[Line]:
    """From the return of the call in one process to the callback in another."""
    arrived: dict[int, int] = {}
    watch = await store.customer("ada").on_change(lambda change: arrived.setdefault(change.new_version, time_ns()))
    with watch:
        returned = await other.change("invalidate", count, _CALLBACK_PAUSE)
        await _until(lambda: returned[-1][0] in arrived)
    lags = sorted((arrived[version] - at) / 1e6 for version, at in returned if version in arrived)
    # Several changes may be told of as one, but not where there is that much time between them.
    assert len(lags) >= 0.9 * count, f"told of {len(lags)} of {count} changes"
    return _percentiles(lags)


def _percentiles(lags: list[float]) -> Iterator[Line]:
    for name, share, target in (("p50", 0.5, None), ("p99", 0.99, _P99_MS)):
        value = lags[min(len(lags) - 1, int(share * len(lags)))]
        yield Line("on_change: from a change's return there to the callback here", name, value, target, unit=" ms")
