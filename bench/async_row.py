"""Cart adds of many conversations at once in one process; the server has a core of its own where there are two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any

import redis.asyncio

import redstate
from bench.floors import CART_ADD, EqualAdds, connect_multiplexer, conversation_key
from bench.measure import Line, Plan, Sample, Samples, cpu_times, figures, ratios, turns, wall_times
from bench.servers import CLIENT_CORE, address_of, pinned, running, url_of

Adder = Callable[[], Awaitable[Any]]
_EACH = {64: 40, 256: 20}  # adds of one task in one slice
_SLICES = 4
_TARGETS = {64: (0.65, 4.5, 7.0), 256: (0.65, 8.0, None)}


def measure(plan: Plan) -> list[Line]:
    lines = []
    with pinned(CLIENT_CORE):
        for tasks in _TARGETS:
            plan.say(f"async cart adds, {tasks} conversations")
            lines += asyncio.run(_measure(plan, tasks))
    return lines


async def _measure(plan: Plan, tasks: int) -> list[Line]:
    each, slices = _EACH[tasks], plan.rounds * plan.scaled(_SLICES)
    with running(plan.server) as server:
        async with redstate.AsyncStore.from_url(url_of(server)) as store:
            floor = await connect_multiplexer(address_of(server))
            client = redis.asyncio.Redis.from_url(url_of(server), max_connections=tasks)
            await client.script_load(CART_ADD.source)
            adders = {
                "redstate": [_ours(store.conversation(f"redstate-{n}")) for n in range(tasks)],
                "floor": [_floor(floor, _adds("floor", n)) for n in range(tasks)],
                "redis.asyncio": [_redis_py(client, _adds("redis.asyncio", n)) for n in range(tasks)],
            }
            samples = await _interleave(adders, each, slices)
            await _check(store, adders, (slices + 1) * each)
            floor.close()
            await client.aclose()
    return _lines(tasks, samples)


async def _interleave(adders: dict[str, list[Adder]], each: int, slices: int) -> Samples:
    samples: Samples = {name: [] for name in adders}
    for warm_up in adders.values():
        await _slice(warm_up, each)
    for name in turns(list(adders), slices):
        samples[name].append(await _slice(adders[name], each))
    return samples


async def _slice(adders: list[Adder], each: int) -> Sample:
    async def repeat(add: Adder) -> None:
        for _ in range(each):
            await add()

    loop_time, cpu_time = asyncio.get_running_loop().time, process_time
    wall, cpu = loop_time(), cpu_time()
    await asyncio.gather(*map(repeat, adders))
    return Sample(each * len(adders), loop_time() - wall, cpu_time() - cpu)


async def _check(store: redstate.AsyncStore, adders: dict[str, list[Adder]], expected: int) -> None:
    for name, tasks in adders.items():
        for number in range(len(tasks)):
            found = await store.conversation(f"{name}-{number}").cart.count()
            assert found == expected, f"{name} lost updates: {found} of {expected}"


def _adds(name: str, number: int) -> EqualAdds:
    return EqualAdds(conversation_key(f"{name}-{number}"), "abcdefgh")


def _ours(conversation: redstate.AsyncConversation) -> Adder:
    cart = conversation.cart
    return lambda: cart.add("sku", 1, "19.99")


def _floor(multiplexer: Any, adds: EqualAdds) -> Adder:
    before, after, numbers, call = adds.before, adds.after, adds.numbers, multiplexer.call
    return lambda: call((*before, next(numbers), *after))


def _redis_py(client: Any, adds: EqualAdds) -> Adder:
    key, journal, after, numbers, sha = adds.key, adds.journal, adds.after, adds.numbers, CART_ADD.sha
    evalsha = client.evalsha
    return lambda: evalsha(sha, 1, key, journal, next(numbers), *after)


def _lines(tasks: int, samples: Samples) -> list[Line]:
    work = f"async cart adds, {tasks} conversations"
    mine, bare, other = (samples[name] for name in ("redstate", "floor", "redis.asyncio"))
    of_floor, of_peer, of_cpu = _TARGETS[tasks]
    by_floor, floor_spread = ratios(wall_times(bare), wall_times(mine))
    by_peer, peer_spread = ratios(wall_times(other), wall_times(mine))
    by_cpu, cpu_spread = ratios(cpu_times(other), cpu_times(mine))
    shown = figures(mine)
    return [
        Line(work, "floor's rate", by_floor, of_floor, True, shown, figures(bare), spread=floor_spread),
        Line(work, "redis.asyncio: times its rate", by_peer, of_peer, True, shown, figures(other), spread=peer_spread),
        Line(work, "redis.asyncio: times less CPU", by_cpu, of_cpu, True, shown, figures(other), spread=cpu_spread),
    ]
