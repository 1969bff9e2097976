"""What a typical conversation takes in the server, against one JSON text with the same content."""

from __future__ import annotations

from bench.measure import Line, Plan
from bench.servers import admin, running
from bench.typical import TEMPLATE, blob, conversation_id, copy, memory_usage, used_memory, written

# The flat budget has no figure of its own: the buckets of the server's table come and go in powers of two.
_FLAT = 1.05
_WORK = "memory of a typical conversation"


def measure(plan: Plan) -> list[Line]:
    plan.say(_WORK)
    lines = [
        _against_blob(plan, "with redstate's limits", {}, 1.6),
        _against_blob(plan, "on server defaults", {"hash-max-listpack-value": "64"}, 3.0),
    ]
    return lines + _growth(plan)


def _against_blob(plan: Plan, where: str, config: dict[str, str], target: float) -> Line:
    with running(plan.server, config) as server, written(server) as store, admin(server) as client:
        client.set(f"conversation:{TEMPLATE}", blob(), ex=86_400)
        ours = memory_usage(client, store.conversation(TEMPLATE).key)
        theirs = memory_usage(client, f"conversation:{TEMPLATE}")
    return Line(f"{_WORK} {where}", "JSON text's", ours / theirs, target, False, f"{ours:,} B", f"{theirs:,} B")


def _growth(plan: Plan) -> list[Line]:
    sizes = [10**3, 10**4] if plan.quick else [10**3, 10**4, 10**5]
    if plan.full:
        sizes.append(10**6)
    each: dict[int, float] = {}
    with running(plan.server) as server, written(server) as store, admin(server) as client:
        template = memory_usage(client, store.conversation(TEMPLATE).key)
        before, there = used_memory(client), 1
        for size in sizes:
            plan.say(f"memory of {size:,} conversations")
            copy(server, store, there, size + 1)
            there = size + 1
            each[size] = (used_memory(client) - before) / size
        copied = memory_usage(client, store.conversation(conversation_id(sizes[0])).key)
        assert abs(copied - template) <= template // 20, f"a copy takes {copied} B, the original {template}"
    first = sizes[0]
    return [
        Line(
            f"memory of one of {size:,} conversations",
            f"one of {first:,}",
            each[size] / each[first],
            _FLAT,
            False,
            f"{each[size]:,.0f} B",
            f"{each[first]:,.0f} B",
        )
        for size in sizes[1:]
    ]
