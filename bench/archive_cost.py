"""What a store with an archive costs the server: a write, and a whole short life with its start and its end.

Times are those that the server counts for its scripts (``INFO commandstats``), so clients and wires are not in them.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

import redstate
from bench.measure import Line, Plan, ratios, turns
from bench.servers import CLIENT_CORE, admin, pinned, running, url_of

_LIVES, _WRITES, _SLICES = 200, 5, 10
_TARGET = 1.05
_WORK = "server time of a write, with an archive"


def measure(plan: Plan) -> list[Line]:
    found: dict[str, list[float]] = {name: [] for name in ("plain", "kept", "start", "end")}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(plan.server) as server,
        pinned(CLIENT_CORE),
        admin(server) as client,
        redstate.Store.from_url(url_of(server), key_prefix="plain") as plain,
        redstate.Store.from_url(url_of(server), key_prefix="kept", archive=Path(folder) / "archive.db") as kept,
    ):
        numbers = itertools.count()
        for name in turns(["plain", "kept"], plan.rounds * plan.scaled(_SLICES) + 1):
            lives = [(plain if name == "plain" else kept).conversation(f"c{next(numbers):09d}") for _ in range(_LIVES)]
            if name == "kept":
                found["start"].append(_timed(client, lambda lives=lives: _all(lives, "start")))
            found[name].append(_timed(client, lambda lives=lives: _write(lives)))
            if name == "kept":
                found["end"].append(_timed(client, lambda lives=lives: _all(lives, "end")))
    for each in found.values():
        del each[0]  # scripts were loaded in the first
    return _lines(found)


def _lines(found: dict[str, list[float]]) -> list[Line]:
    shown = {name: statistics.median(each) for name, each in found.items()}
    per_write, spread = ratios(found["kept"], found["plain"])
    whole = [sum(each) for each in zip(found["start"], found["kept"], found["end"], strict=True)]
    per_life, life_spread = ratios(whole, found["plain"])
    one = [f"{shown[name] / _WRITES:6.2f} us" for name in ("kept", "plain")]
    life = [f"{statistics.median(whole):6.1f} us", f"{shown['plain']:6.1f} us"]
    return [
        Line(_WORK, "without", per_write, _TARGET, False, *one, spread=spread),
        Line("server time of a start", "a write", shown["start"] / (shown["plain"] / _WRITES), None, False,
             f"{shown['start']:6.1f} us"),
        Line("server time of an end", "a write", shown["end"] / (shown["plain"] / _WRITES), None, False,
             f"{shown['end']:6.1f} us"),
        Line(f"server time of start, {_WRITES} writes, end", f"{_WRITES} writes", per_life, None, False, *life,
             spread=life_spread),
    ]  # fmt: skip


def _all(lives: list[Any], what: str) -> None:
    for life in lives:
        getattr(life, what)()


def _write(lives: list[Any]) -> None:
    # The first change of a plain conversation makes its record, as the start does of the other.
    for write in range(_WRITES):
        for life in lives:
            life.state.set(f"field{write}", "what was said in this turn")


def _timed(client: redis.Redis, work: Callable[[], None]) -> float:
    """Microseconds that the server spends on it, for each conversation."""
    before = _busy(client)
    work()
    return (_busy(client) - before) / _LIVES


def _busy(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("usec", 0))
