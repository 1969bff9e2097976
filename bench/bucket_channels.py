"""What it would be like with a channel for each of so many buckets of keys, in place of one for each key.

Few channels are little to subscribe to, but each brings what changes in its whole bucket.
"""

from __future__ import annotations

import random
import socket
import statistics
import time
import zlib
from collections.abc import Iterator
from typing import Any

import hiredis

from bench.floors import READ_BYTES, connect
from bench.measure import Line, Plan
from bench.servers import address_of, admin
from bench.typical import used_memory
from redstate.embedded import EmbeddedServer

_BUCKETS = (256, 4_096)
_MESSAGES = 20_000
_SUBSCRIPTIONS = 10_000
_AT_ONCE = 500  # channels in one command, as redstate has it
_END = "end"


class Subscriber:
    """A bare connection that subscribes."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket: socket.socket = connect(address)
        self._reader = hiredis.Reader(encoding="utf-8")

    def subscribe(self, channels: list[str]) -> None:
        """Subscribe, and wait for every confirmation."""
        for at in range(0, len(channels), _AT_ONCE):
            self._socket.sendall(hiredis.pack_command(("SUBSCRIBE", *channels[at : at + _AT_ONCE])))
        for _ in channels:
            assert self.next()[0] == "subscribe"

    def next(self) -> list[Any]:
        while (item := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(READ_BYTES))
        return list(item)

    def close(self) -> None:
        self._socket.close()


def compared(server: EmbeddedServer, keys: list[str], held: int, plan: Plan) -> list[Line]:
    """Both sides of the choice: what is heard in vain, and what subscriptions cost."""
    lines = []
    for buckets in _BUCKETS:
        vain, received = _heard_in_vain(server, keys, held, buckets, plan.scaled(_MESSAGES))
        against = f"all that it would receive with {buckets:,} buckets for channels"
        work = f"the same holdings, {len(keys):,} customers in all"
        lines.append(Line(work, against, 100 * vain, ours=f"{100 * received:.1f} % of all changes", unit=" %"))
    return [*lines, *_subscriptions(server, plan)]


def _heard_in_vain(server: EmbeddedServer, keys: list[str], held: int, buckets: int, count: int) -> tuple[float, float]:
    """What part of the messages that come is about keys that are not held, and what part of all changes comes."""
    subscriber = Subscriber(address_of(server))
    chosen = random.Random(1)
    # Not the first ones: this hash spreads neighbours more evenly than customers are.
    holdings = set(chosen.sample(keys, held))
    subscriber.subscribe([*{_bucket(key, buckets) for key in holdings}, _END])
    with admin(server) as client, client.pipeline(transaction=False) as batch:
        for key in chosen.choices(keys, k=count):
            batch.publish(_bucket(key, buckets), key)
        batch.publish(_END, "")
        batch.execute()
    received = vain = 0
    while (message := subscriber.next())[1] != _END:
        received += 1
        vain += message[2] not in holdings
    subscriber.close()
    return vain / received, received / count


def _bucket(key: str, buckets: int) -> str:
    return f"bucket:{zlib.crc32(key.encode()) % buckets}"


def _subscriptions(server: EmbeddedServer, plan: Plan) -> Iterator[Line]:
    keys = [f"rs:{{cust:subscribed-{number:06d}}}" for number in range(_SUBSCRIPTIONS)]
    buckets = [f"bucket:{number}" for number in range(_BUCKETS[0])]
    per_key, per_bucket = ([_cost(server, channels) for _ in range(plan.rounds)] for channels in (keys, buckets))
    work = f"{_SUBSCRIPTIONS:,} subscriptions, one for each key"
    theirs = f"{len(buckets)} buckets:"
    bytes_, others = (statistics.median(cost[0] for cost in costs) for costs in (per_key, per_bucket))
    yield Line(work, "server memory of one", bytes_ / len(keys), theirs=f"{theirs} {others:,.0f} B in all", unit=" B")
    took, others = (1000 * statistics.median(cost[1] for cost in costs) for costs in (per_key, per_bucket))
    yield Line(work, "time until all stand", took, theirs=f"{theirs} {others:.1f} ms", unit=" ms")


def _cost(server: EmbeddedServer, channels: list[str]) -> tuple[float, float]:
    """Bytes that the server needs for subscriptions, and the seconds until they are confirmed."""
    subscriber = Subscriber(address_of(server))
    subscriber.subscribe([_END])  # what a connection takes by itself does not count
    with admin(server) as client:
        before = used_memory(client)
        began = time.perf_counter()
        subscriber.subscribe(channels)
        took = time.perf_counter() - began
        taken = used_memory(client) - before
    subscriber.close()
    return taken, took
