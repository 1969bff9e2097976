"""Any number of short conversations through one server: what it holds meanwhile, what the archive has in the end."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import servers
from archive_soak.brief import HANGS_UP_EVERY, IDLE, PREFIX, TOMBSTONE, WRITES, conversation_id, versions_of

from redstate import _keys
from redstate.archive import SqlArchive

_TESTS = Path(__file__).parents[1]
_WARM_UP = 400
_DRAINED_WITHIN = 120.0


@dataclass(frozen=True)
class Sample:
    """What there was at a moment.

    Attributes:
        at: seconds since the begin.
        memory: bytes of the server.
        keys, index: how many keys there were, and how many conversations the index had.
        archived: rows of the archive.
    """

    at: float
    memory: int
    keys: int
    index: int
    archived: int


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        count: conversations.
        seconds: until the last one was archived and its tombstone gone.
        memory_before, memory_after: of the idle server, before the first conversation and after the last tombstone.
        samples: one a second.
        problems: what is wrong, in words.
    """

    count: int
    seconds: float
    memory_before: int
    memory_after: int
    samples: list[Sample]
    problems: list[str] = field(default_factory=list)

    @property
    def thirds(self) -> list[int]:
        """Median memory of each third of the time in which conversations went on."""
        talking = [sample.memory for sample in self.samples if sample.archived < self.count * 0.99] or [0]
        third = max(1, len(talking) // 3)
        return [int(statistics.median(talking[place * third :][:third] or talking)) for place in range(3)]

    @property
    def numbers(self) -> dict[str, Any]:
        """What is told of it."""
        return {
            "conversations": self.count,
            "writes of each": WRITES,
            "hung up": -(-self.count // HANGS_UP_EVERY),
            "seconds": round(self.seconds, 1),
            "conversations per second": round(self.count / self.seconds),
            "idle": IDLE,
            "tombstone_ttl": TOMBSTONE,
            "memory before": self.memory_before,
            "memory after": self.memory_after,
            "median memory of each third": self.thirds,
            "most conversations in the index": max((sample.index for sample in self.samples), default=0),
        }


def run(count: int, folder: Path, *, talkers: int = 2, sweepers: int = 1) -> Outcome:
    """Have so many conversations.

    Args:
        count: how many.
        folder: an empty one.
        talkers, sweepers: processes.
    """
    with servers.server() as server, redis.Redis.from_url(server.url) as client:
        for name in ("warm-up", "all"):
            (folder / name).mkdir()
        # Scripts, functions' tables and the like are there before anything is measured.
        _pass(server.url, client, _WARM_UP, folder / "warm-up", talkers, sweepers)
        before = _memory(client)
        began = time.monotonic()
        samples = _pass(server.url, client, count, folder / "all", talkers, sweepers)
        seconds = time.monotonic() - began
        found = Outcome(count, seconds, before, _memory(client), samples)
        found.problems += [f"key left over: {key.decode()}" for key in list(client.scan_iter())[:5]]
    found.problems += _judged(folder / "all", count, talkers)
    return found


def _pass(url: str, client: redis.Redis, count: int, folder: Path, talkers: int, sweepers: int) -> list[Sample]:
    archive, samples = folder / "archive.db", []
    with SqlArchive(archive) as made:
        made.open()
    shares = [count // talkers + (worker < count % talkers) for worker in range(talkers)]
    with contextlib.ExitStack() as stack:
        for _ in range(sweepers):
            stack.enter_context(_process("sweep", url, str(archive)))
        talking = [
            stack.enter_context(_process("talk", url, str(archive), str(worker), str(share), str(folder)))
            for worker, share in enumerate(shares)
        ]
        table = stack.enter_context(contextlib.closing(sqlite3.connect(archive)))
        began, drained_by = time.monotonic(), 0.0
        while True:
            sample = _sample(client, table, time.monotonic() - began)
            samples.append(sample)
            if any(process.poll() for process in talking):
                raise RuntimeError("a talker failed")
            if all(process.poll() == 0 for process in talking):
                drained_by = drained_by or time.monotonic() + _DRAINED_WITHIN
                if not sample.keys or time.monotonic() > drained_by:
                    return samples
            time.sleep(max(0.0, began + len(samples) - time.monotonic()))


@contextlib.contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": f"{_TESTS.parent}:{_TESTS}"}
    command = [sys.executable, "-m", "archive_soak.brief", *words]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    try:
        yield process
        process.communicate(timeout=60.0)
        if process.returncode:
            raise RuntimeError(f"{words[0]} ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _sample(client: redis.Redis, table: sqlite3.Connection, at: float) -> Sample:
    with client.pipeline(transaction=False) as batch:
        batch.info("memory").dbsize()
        for part in range(_keys.DUE_PARTS):
            batch.zcard(_keys.due_part_key(PREFIX, part))
        info, keys, *parts = batch.execute()
    # Rows are never taken out here, so the last one's number is their count.
    archived = table.execute("SELECT max(rowid) FROM conversation_state").fetchone()[0] or 0
    return Sample(round(at, 1), info["used_memory"], keys, sum(parts), archived)


def _memory(client: redis.Redis) -> int:
    """Of the server, once its tables have shrunk: the smallest of some seconds."""
    found = []
    for _ in range(20):
        info: Any = client.info("memory")
        found.append(int(info["used_memory"]))
        time.sleep(0.1)
    return min(found)


def _judged(folder: Path, count: int, talkers: int) -> list[str]:
    """What is wrong with the archive: each conversation is there once, as its last change left it."""
    problems = []
    right = {
        conversation_id(worker, number): (version, number % HANGS_UP_EVERY != 0)
        for worker in range(talkers)
        for number, version in enumerate(versions_of(folder, worker))
    }
    with contextlib.closing(sqlite3.connect(folder / "archive.db")) as table:
        rows = 0
        for name, version, reason in table.execute("SELECT conversation_id, version, reason FROM conversation_state"):
            rows += 1
            wanted, ended = right.pop(name, (None, None))
            if version != wanted or reason != ("ended" if ended else "abandoned"):
                problems.append(f"{name}: version {version}, {reason}; not {wanted}")
    if rows != count:
        problems.append(f"{rows:,} rows, not {count:,}")
    problems += [f"{name} is not in the archive" for name in list(right)[:5]]
    return problems[:20]
