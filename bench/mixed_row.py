"""Many tasks read and now and then write many conversations, some of them far more often than others.

95 % reads, 5 % writes; the conversations are chosen by Zipf's law, in the same sequence for each contender. Slices take
a fixed time, and not a number of operations, as those of the contenders take times so different.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter, process_time
from typing import Any

import redis.asyncio

import redstate
from bench.measure import Line, Plan, Sample, Samples, cpu_times, figures, ratios, turns, wall_times
from bench.servers import CLIENT_CORE, pinned, running, url_of

_CONVERSATIONS = 10_000
_EXPONENT = 1.0
_TASKS = 64
_WRITES = 0.05
_SEQUENCE = 500_000  # gone round
_SECONDS = {"on": 1.5, "off": 0.5, "redis.asyncio": 0.5}  # of a slice
_SLICES = 2
_FASTER = 5.0

Read = Callable[[], Awaitable[Any]]
Write = Callable[[int], Awaitable[Any]]
Step = tuple[int, bool]


def measure(plan: Plan) -> list[Line]:
    plan.say("reads and writes of many conversations")
    with pinned(CLIENT_CORE):
        return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> list[Line]:
    with running(plan.server) as server:
        async with AsyncExitStack() as stack:
            # A prefix of its own, as stores of one prefix share a near cache.
            caching = redstate.AsyncStore.from_url(url_of(server), key_prefix="on")
            asking = redstate.AsyncStore.from_url(url_of(server), key_prefix="off", max_staleness=0)
            for store in (caching, asking):
                await stack.enter_async_context(store)
            client = redis.asyncio.Redis.from_url(url_of(server), max_connections=_TASKS)
            await stack.enter_async_context(client)
            sequence = _sequence()
            contenders = {
                "on": _redstate(caching, sequence),
                "off": _redstate(asking, sequence),
                "redis.asyncio": _redis_py(client, sequence),
            }
            samples, share = await _interleave(contenders, plan, caching.nearcache.stats)
    return _lines(samples, share)


class _Contender:
    """The reads and writes of one contender, by conversation. Made beforehand: it is their calls that are measured."""

    def __init__(self, reads: Sequence[Read], writes: Sequence[Write], sequence: list[Step]) -> None:
        self.reads = reads
        self.writes = writes
        self.steps = itertools.cycle(sequence)

    async def run(self, stop: list[bool]) -> int:
        """What one task does: the next steps, until it is told to stop. Returns how many."""
        reads, writes, done = self.reads, self.writes, 0
        for number, writing in self.steps:
            await (writes[number](done) if writing else reads[number]())
            done += 1
            if stop:
                break
        return done


def _redstate(store: redstate.AsyncStore, sequence: list[Step]) -> _Contender:
    states = [store.conversation(f"mixed-{number}").state for number in range(_CONVERSATIONS)]
    reads, writes = [partial(state.get, "x") for state in states], [partial(state.set, "x") for state in states]
    return _Contender(reads, writes, sequence)


def _redis_py(client: Any, sequence: list[Step]) -> _Contender:
    keys = [f"conversation:mixed-{number}" for number in range(_CONVERSATIONS)]
    reads, writes = [partial(client.hget, key, "x") for key in keys], [partial(client.hset, key, "x") for key in keys]
    return _Contender(reads, writes, sequence)


def _sequence() -> list[Step]:
    """Which conversation comes next, and whether it is written."""
    chosen = random.Random(1)
    weights = [1 / rank**_EXPONENT for rank in range(1, _CONVERSATIONS + 1)]
    numbers = chosen.choices(range(_CONVERSATIONS), weights, k=_SEQUENCE)
    return [(number, chosen.random() < _WRITES) for number in numbers]


async def _interleave(
    contenders: dict[str, _Contender], plan: Plan, stats: Callable[[], redstate.NearCacheStats]
) -> tuple[Samples, float]:
    """The samples, and the share of the caching store's reads that memory answered."""
    samples: Samples = {name: [] for name in contenders}
    for contender in contenders.values():
        await _warm_up(contender)
    hits = reads = 0
    for name in turns(list(contenders), plan.rounds * plan.scaled(_SLICES)):
        before = stats()
        samples[name].append(await _slice(contenders[name], _SECONDS[name]))
        after = stats()
        hits += after.hits - before.hits
        reads += _reads(after) - _reads(before)
    return samples, hits / reads


async def _warm_up(contender: _Contender) -> None:
    steps = iter(range(_CONVERSATIONS))

    async def take() -> None:
        for number in steps:
            await contender.writes[number](number)
            # The first read of a conversation subscribes, the next ones are kept.
            for _ in range(2):
                assert int(await contender.reads[number]()) == number

    await asyncio.gather(*(take() for _ in range(_TASKS)))
    await _slice(contender, _SECONDS["off"])


async def _slice(contender: _Contender, seconds: float) -> Sample:
    stop: list[bool] = []
    wall, cpu = perf_counter(), process_time()
    asyncio.get_running_loop().call_later(seconds, stop.append, True)
    done = await asyncio.gather(*(contender.run(stop) for _ in range(_TASKS)))
    return Sample(sum(done), perf_counter() - wall, process_time() - cpu)


def _reads(stats: redstate.NearCacheStats) -> int:
    return stats.hits + stats.misses + sum(stats.bypasses.values())


def _lines(samples: Samples, share: float) -> list[Line]:
    work = f"{_TASKS} tasks, {1 - _WRITES:.0%} reads, {_CONVERSATIONS:,} conversations by Zipf's law"
    mine, off, other = (samples[name] for name in ("on", "off", "redis.asyncio"))
    by_cache, cache_spread = ratios(wall_times(off), wall_times(mine))
    by_cpu, cpu_spread = ratios(cpu_times(off), cpu_times(mine))
    by_peer, peer_spread = ratios(wall_times(other), wall_times(mine))
    off_by_peer, off_spread = ratios(wall_times(other), wall_times(off))
    shown, bare, theirs = figures(mine), figures(off), figures(other)
    return [
        Line(work, "without near cache: times its rate", by_cache, _FASTER, True, shown, bare, "", cache_spread),
        Line(work, "without near cache: times less CPU", by_cpu, None, True, shown, bare, "", cpu_spread),
        Line(work, "redis.asyncio: times its rate", by_peer, None, True, shown, theirs, "", peer_spread),
        Line(work, "redis.asyncio, without near cache", off_by_peer, None, True, bare, theirs, "", off_spread),
        Line(work, "reads that memory answers", 100 * share, unit=" %"),
    ]
