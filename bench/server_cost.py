"""What a full mutation costs the server: journal, fence, deadline, version, expiry and publish against an empty script.

50 connections, 2,000 keys. The driver is our own: operation numbers must rise, as a repeated number would be answered
from the journal without doing the work, and redis-benchmark cannot count. Commands are packed before the clock starts.
The driver goes round the connections, reading one's replies and at once writing its next batch, so the server always
has the others' to do.
"""

from __future__ import annotations

import random
import socket
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import redis

from bench.floors import CART_ADD, READ_BYTES, EqualAdds, connect, conversation_key
from bench.measure import Line, Plan, Sample, ratios, timed, turns, wall_times
from bench.servers import (
    CLIENT_CORE,
    address_of,
    admin,
    cpu_seconds,
    every_server,
    pinned,
    running,
    version_of,
)
from redstate._call import guards

_CONNECTIONS, _KEYS = 50, 2_000
_OPS = {1: 6_000, 32: 16_000}  # in one slice
_SLICES = 3
_TARGETS = {"Redis": {1: 0.50, 32: 0.33}, "Valkey": {1: 0.45, 32: 0.30}}
_TOUCH = "return redis.call('HINCRBY', KEYS[1], 'n', 1)"
_EMPTY = "return 1"
_FENCE = 1_700_000_000_000_000
_FAR_DEADLINE_US = 4_000_000_000_000_000

Command = Callable[[int], bytes]


class Load:
    """One kind of command on connections of its own.

    Args:
        command: packs the command for the key of that number; called for each operation in the order of sending.
        lines: lines of a reply on the wire, to count replies by.
    """

    def __init__(self, address: tuple[str, int], command: Command, lines: int) -> None:
        self._sockets = [connect(address) for _ in range(_CONNECTIONS)]
        self._command = command
        self._lines = lines
        self._random = random.Random(1)
        self.sent = 0

    def batches(self, ops: int, pipeline: int) -> list[bytes]:
        """Packed batches, for the connections in turn.

        Each connection has keys of its own, so each key sees its operations in order.
        """
        share, choose, command = _KEYS // _CONNECTIONS, self._random.randrange, self._command
        self.sent += ops // pipeline * pipeline
        return [
            b"".join(command(batch % _CONNECTIONS * share + choose(share)) for _ in range(pipeline))
            for batch in range(ops // pipeline)
        ]

    def drive(self, batches: list[bytes], pipeline: int) -> int:
        """Send the batches, each connection waiting for the replies to its last. Returns the operations done."""
        sockets, lines = self._sockets, self._lines * pipeline
        for connected, batch in zip(sockets, batches, strict=False):
            connected.sendall(batch)
        for number in range(_CONNECTIONS, len(batches)):
            connected = sockets[number % _CONNECTIONS]
            _receive(connected, lines)
            connected.sendall(batches[number])
        for number in range(max(0, len(batches) - _CONNECTIONS), len(batches)):
            _receive(sockets[number % _CONNECTIONS], lines)
        return len(batches) * pipeline

    def close(self) -> None:
        for connected in self._sockets:
            connected.close()


def _receive(connected: socket.socket, lines: int) -> None:
    while lines:
        data = connected.recv(READ_BYTES)
        # No reply of these scripts has a minus sign in it but an error.
        if not data or b"-" in data:
            raise RuntimeError(f"the server answered {data[:200]!r}")
        lines -= data.count(b"\n")


def measure(plan: Plan) -> list[Line]:
    lines = []
    for server in every_server(plan.server):
        with running(server) as started, pinned(CLIENT_CORE), admin(started) as client:
            name = version_of(started)
            loads = _loads(address_of(started), client)
            for pipeline in _OPS:
                plan.say(f"server cost on {name}, pipeline {pipeline}")
                lines += _lines(name, pipeline, *_slices(plan, loads, pipeline, client))
            _check(client, loads["full"])
            for load in loads.values():
                load.close()
    return lines


def _loads(address: tuple[str, int], client: redis.Redis) -> dict[str, Load]:
    client.script_load(CART_ADD.source)
    keys = [conversation_key(f"cost-{number}") for number in range(_KEYS)]
    with client.pipeline(transaction=False) as batch:
        for key in keys:
            batch.hset(key, "f", _FENCE)  # an owner's fencing token, so that the fence is compared too
        batch.execute()
    touch, empty = client.script_load(_TOUCH), client.script_load(_EMPTY)
    loads = {
        "full": Load(address, _full(keys), lines=2),
        "touch": Load(address, _plain(touch), lines=1),
        "empty": Load(address, _plain(empty), lines=1),
    }
    for load in loads.values():
        # Every key exists and every writer is known to it before the clock starts.
        load.drive(load.batches(_KEYS * 4, 1), 1)
    return loads


def _full(keys: list[str]) -> Command:
    adds = [EqualAdds(key, "abcdefgh", guards=guards(fence=_FENCE, deadline_us=_FAR_DEADLINE_US)) for key in keys]

    def command(key: int) -> bytes:
        add = adds[key]
        return hiredis.pack_command((*add.before, next(add.numbers), *add.after))

    return command


def _plain(sha: Any) -> Command:
    packed = [hiredis.pack_command(("EVALSHA", sha, "1", f"touched:{number}")) for number in range(_KEYS)]
    return packed.__getitem__


def _slices(
    plan: Plan, loads: dict[str, Load], pipeline: int, client: redis.Redis
) -> tuple[dict[str, list[Sample]], dict[str, list[float]]]:
    samples: dict[str, list[Sample]] = {name: [] for name in loads}
    server_us: dict[str, list[float]] = {name: [] for name in loads}
    for name in turns(list(loads), plan.rounds * _SLICES):
        load = loads[name]
        batches = load.batches(plan.scaled(_OPS[pipeline]), pipeline)
        before = cpu_seconds(client)
        sample = timed(lambda load=load, batches=batches: load.drive(batches, pipeline))
        server_us[name].append((cpu_seconds(client) - before) / sample.ops * 1e6)
        samples[name].append(sample)
    return samples, server_us


def _lines(
    server: str, pipeline: int, samples: dict[str, list[Sample]], server_us: dict[str, list[float]]
) -> Iterator[Line]:
    work = f"full mutation on {server}, pipeline {pipeline}"
    target = _TARGETS[server.split(maxsplit=1)[0]][pipeline]
    for name, shown, goal in (("touch", "trivial EVALSHA's rate", target), ("empty", "rate of 'return 1'", None)):
        value, spread = ratios(wall_times(samples[name]), wall_times(samples["full"]))
        yield Line(work, shown, value, goal, True, *_figures(samples, server_us, name), spread=spread)
        cpu, cpu_spread = ratios(server_us[name], server_us["full"])
        yield Line(work, f"{shown}, by server CPU", cpu, None, True, spread=cpu_spread)


def _figures(samples: dict[str, list[Sample]], server_us: dict[str, list[float]], other: str) -> tuple[str, str]:
    """Median wall time and server CPU of an operation, of the full script and of the other."""
    full, theirs = (
        f"{statistics.median(wall_times(samples[name])):6.1f} / {statistics.median(server_us[name]):6.1f}"
        for name in ("full", other)
    )
    return full, theirs


def _check(client: redis.Redis, load: Load) -> None:
    with client.pipeline(transaction=False) as batch:
        for number in range(_KEYS):
            batch.hget(conversation_key(f"cost-{number}"), "csku")
        found = sum(int(line.split(b" ")[0]) for line in batch.execute())
    assert found == load.sent, f"the full script lost updates: {found} of {load.sent}"
