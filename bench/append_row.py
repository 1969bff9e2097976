"""``state["cart"].append(x)`` against the guide's way: load the JSON text, change it, SETEX it again.

Two questions: how long one takes, on one core; and what eight threads in two processes lose when all append at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import redis

import redstate
from bench.measure import Line, Plan, cpu_times, figures, interleave, ratios, wall_times
from bench.servers import SERVER_CORE, pinned, running, url_of
from bench.typical import STATE

BY_NAME = 'the same by name: state.append("cart", x)'
WORK = 'state["cart"].append(x), one thread, one core'
_GUIDE = "load + change + SETEX"
_CART = 20  # a cart grows to this many items, and is emptied: both sides see all sizes alike
_SLICES = 60
_THREADS, _PROCESSES = 4, 2
_EACH = 50


def item(number: int) -> dict[str, Any]:
    """What a tool puts into the cart; plain JSON, as the guide's way takes no other."""
    return {"product_id": f"P{number}", "quantity": 1, "added_at": "2026-03-14T09:26:53.589793"}


def measure(plan: Plan) -> list[Line]:
    plan.say(WORK)
    with running(plan.server) as server:
        with pinned(SERVER_CORE), redstate.Store.from_url(url_of(server)) as store:
            client = redis.Redis.from_url(url_of(server), decode_responses=True)
            contenders = {"redstate": _ours(store), "by name": _by_name(store), "guide": _guide(client)}
            for warm_up in contenders.values():
                warm_up()
            samples = interleave(contenders, plan.rounds * plan.scaled(_SLICES))
            client.close()
        plan.say("appends of 8 threads in 2 processes")
        lost = {way: _lost(url_of(server), way) for way in ("redstate", "guide")}
    mine, theirs = samples["redstate"], samples["guide"]
    faster, spread = ratios(wall_times(theirs), wall_times(mine))
    by_cpu, cpu_spread = ratios(cpu_times(mine), cpu_times(theirs))
    made = _THREADS * _PROCESSES * _EACH
    work = f"{made} appends, {_THREADS * _PROCESSES} threads in {_PROCESSES} processes"
    by_name, name_spread = ratios(wall_times(theirs), wall_times(samples["by name"]))
    ours, guide = figures(mine), figures(theirs)
    return [
        Line(WORK, f"{_GUIDE}: times faster", faster, 2.5, True, ours, guide, spread=spread),
        Line(WORK, f"{_GUIDE}: client CPU", by_cpu, None, False, ours, guide, spread=cpu_spread),
        Line(
            BY_NAME,
            f"{_GUIDE}: times faster",
            by_name,
            None,
            True,
            figures(samples["by name"]),
            guide,
            spread=name_spread,
        ),
        Line(work, "all acknowledged", lost["redstate"], 0, False, unit=" lost"),
        Line(work, _GUIDE, lost["guide"], None, False, unit=" lost"),
    ]


def _ours(store: redstate.Store) -> Callable[[], int]:
    state = store.conversation("ours").state
    state.update(STATE, cart=[])

    def appends() -> int:
        state["cart"] = []
        for number in range(_CART):
            state["cart"].append(item(number))
        return _CART

    return appends


def _by_name(store: redstate.Store) -> Callable[[], int]:
    """The call that names the field, and so need not look whether it is there."""
    state = store.conversation("by name").state
    state.update(STATE, cart=[])

    def appends() -> int:
        state["cart"] = []
        for number in range(_CART):
            state.append("cart", item(number))
        return _CART

    return appends


def _guide(client: redis.Redis, key: str = "conversation:guide") -> Callable[[], int]:
    blob = json.dumps({**STATE, "cart": []}, default=str)

    def appends() -> int:
        client.set(key, blob, ex=86_400)
        for number in range(_CART):
            append_as_the_guide(client, key, item(number))
        return _CART

    return appends


def append_as_the_guide(client: redis.Redis, key: str, new: dict[str, Any]) -> None:
    text: Any = client.get(key)
    state = json.loads(text)
    state["cart"].append(new)
    # What SETEX does; redis-py warns of the command's own method.
    client.set(key, json.dumps(state), ex=86_400)


def _lost(url: str, way: str) -> int:
    """How many of the appends are missing when all have been acknowledged."""
    with redis.Redis.from_url(url, decode_responses=True) as client, redstate.Store.from_url(url) as store:
        client.set("conversation:shared", json.dumps({"cart": []}))
        store.conversation("shared").state["cart"] = []
        command = [sys.executable, "-m", "bench.append_worker", way, url, str(_THREADS), str(_EACH)]
        workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(_PROCESSES)]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is ready
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate()
        assert not any(worker.returncode for worker in workers)
        text: Any = client.get("conversation:shared")
        cart = store.conversation("shared").state["cart"] if way == "redstate" else json.loads(text)["cart"]
        return _THREADS * _PROCESSES * _EACH - len(cart)
