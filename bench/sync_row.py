"""One sync cart add: one thread, client and server on one core, so that no wake-up of a sleeping core is measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import redis

import redstate
from bench.floors import CART_ADD, BlockingFloor, EqualAdds, conversation_key
from bench.measure import Line, Plan, cpu_times, figures, interleave, ratios, wall_times
from bench.servers import SERVER_CORE, address_of, pinned, running, url_of

WORK = "sync cart add, one thread, one core"
_OPS = 250  # short slices: a pre-emption then spoils one ratio of many
_SLICES = 30


def measure(plan: Plan) -> list[Line]:
    plan.say(WORK)
    with running(plan.server) as server, pinned(SERVER_CORE), redstate.Store.from_url(url_of(server)) as store:
        cart = store.conversation("ours").cart
        floor = BlockingFloor(address_of(server), EqualAdds(conversation_key("floor"), "floor-01"))
        client = redis.Redis.from_url(url_of(server))
        client.script_load(CART_ADD.source)
        peer = _redis_py_adds(client, EqualAdds(conversation_key("redis-py"), "redispy1"))

        def ours() -> int:
            add = cart.add
            for _ in range(_OPS):
                add("sku", 1, "19.99")
            return _OPS

        slices = plan.rounds * plan.scaled(_SLICES)
        contenders = {"redstate": ours, "floor": lambda: floor.add(_OPS), "redis-py": lambda: peer(_OPS)}
        for warm_up in contenders.values():
            warm_up()
        samples = interleave(contenders, slices)
        for name in ("ours", "floor", "redis-py"):
            done = store.conversation(name).cart.count()
            assert done == (slices + 1) * _OPS, f"{name} lost updates: {done}"
        floor.close()
        client.close()
    mine, bare, other = (samples[name] for name in ("redstate", "floor", "redis-py"))
    by_floor, floor_spread = ratios(wall_times(mine), wall_times(bare))
    by_peer, peer_spread = ratios(wall_times(other), wall_times(mine))
    by_cpu, cpu_spread = ratios(cpu_times(mine), cpu_times(other))
    shown = figures(mine)
    return [
        Line(WORK, "floor's time", by_floor, 1.6, False, shown, figures(bare), spread=floor_spread),
        Line(WORK, "redis-py: times faster", by_peer, 1.7, True, shown, figures(other), spread=peer_spread),
        Line(WORK, "redis-py's client CPU", by_cpu, 0.5, False, shown, figures(other), spread=cpu_spread),
    ]


def _redis_py_adds(client: redis.Redis, adds: EqualAdds) -> Callable[[int], int]:
    key, journal, after, sha = adds.key, adds.journal, adds.after, CART_ADD.sha

    def add(count: int) -> int:
        evalsha = client.evalsha
        for number in itertools.islice(adds.numbers, count):
            evalsha(sha, 1, key, journal, number, *after)
        return count

    return add
