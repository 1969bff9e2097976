"""One run of the soak of the archive: its processes, the trouble between them, and what came of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from archive_soak.databases import Database, database
from archive_soak.judge import Verdict, judge
from archive_soak.plan import IDLE, TIMEOUT, Plan
from archive_soak.sweeping import STEPS
from soak.run import _steady_port
from soak.trouble import OwnServer

from redstate import _keys

_TESTS = Path(__file__).parents[1]
_DRAINED_WITHIN = 90.0
_LONG = 60.0  # seconds in which everything takes place


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        plan: what was run.
        seconds: how long it took.
        verdict: the judge's.
        faults: how many there were, by kind.
        problems: what went wrong, in words; none in a good run.
    """

    plan: Plan
    seconds: float
    verdict: Verdict
    faults: dict[str, int]
    problems: list[str]

    @property
    def numbers(self) -> dict[str, Any]:
        """What is told of it."""
        return {
            "seconds": round(self.seconds, 1),
            **self.verdict.counts,
            **dict(sorted(self.faults.items())),
            **{kind: len(found) for kind, found in self.verdict.violations.items()},
        }


def soak(plan: Plan, folder: Path) -> Outcome:
    """Run it.

    Args:
        plan: how long, and what goes wrong meanwhile.
        folder: an empty one, for the server's data, the archive and the ledgers.
    """
    began = time.monotonic()
    problems: list[str] = []
    faults: Counter[str] = Counter()
    (folder / "redis").mkdir()
    with database(plan.database, folder) as archive:
        server = OwnServer(_steady_port(), folder / "redis")
        nurseries: list[subprocess.Popen[str]] = []
        try:
            for kind, count in (("talker", plan.talkers), ("sweeper", plan.sweepers)):
                nurseries += [_nursery(kind, server, archive, plan, folder, number) for number in range(count)]
            until = _begin(nurseries, plan)
            talkers, sweepers = nurseries[: plan.talkers], nurseries[plan.talkers :]
            with _trouble(plan, server, archive, faults, problems, until):
                faults.update(_told("talker", talkers, plan.seconds + 120.0, problems))
            _wait_until_drained(server.url, problems)
            faults.update(_told("sweeper", sweepers, 60.0, problems))
            verdict = judge(server.url, archive.url, folder)
        finally:
            for nursery in nurseries:
                assert nursery.stdin is not None
                nursery.stdin.close()  # the word for its last sweeper to end, if there is one
            server.close()
    problems += verdict.told()
    problems += _missed(plan, verdict, faults)
    return Outcome(plan, time.monotonic() - began, verdict, dict(faults), problems)


def _nursery(
    kind: str, server: OwnServer, archive: Database, plan: Plan, folder: Path, number: int
) -> subprocess.Popen[str]:
    words = [kind, server.url, archive.url, str(number), str(folder)]
    environment = {**os.environ, "PLAN": plan.to_json(), "PYTHONPATH": f"{_TESTS.parent}:{_TESTS}"}
    command = [sys.executable, "-m", "archive_soak.nursery", *words]
    with (folder / f"{kind}.log").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, cwd=_TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )


def _told(kind: str, nurseries: list[subprocess.Popen[str]], within: float, problems: list[str]) -> Counter[str]:
    """What nurseries tell of their processes, once they are through."""
    found: Counter[str] = Counter()
    for nursery in nurseries:
        try:
            output, _ = nursery.communicate("", timeout=within)
            found.update({f"{kind} {what}": count for what, count in json.loads(output).items()})
        except (subprocess.TimeoutExpired, ValueError) as error:
            nursery.kill()
            problems.append(f"a nursery of {kind}s ended with {nursery.returncode}: {type(error).__name__}")
    wrong = ("ended by itself", "did not stop")
    problems += [f"{found[f'{kind} {what}']} {kind}s {what}" for what in wrong if found[f"{kind} {what}"]]
    return found


def _begin(nurseries: list[subprocess.Popen[str]], plan: Plan) -> float:
    """Have them all begin, once they all can. Returns until when."""
    for nursery in nurseries:
        assert nursery.stdout is not None
        if nursery.stdout.readline() != "ready\n":
            raise RuntimeError("a nursery did not start; see its log")
    until = time.time() + plan.seconds
    for nursery in nurseries:
        assert nursery.stdin is not None
        nursery.stdin.write(f"{until!r}\n")
        nursery.stdin.flush()
    return until


def _missed(plan: Plan, verdict: Verdict, faults: Counter[str]) -> list[str]:
    """What should have taken place and has not: nothing is shown by a run in which nothing happens."""
    wanted = {"acknowledged writes": verdict.counts, "late writes refused": verdict.counts, "server killed": faults}
    wanted |= {"database away": faults, "sweeper killed at random": faults, "talker killed at random": faults}
    if plan.seconds >= _LONG:
        wanted |= {f"sweeper killed at {step!r}": faults for step in STEPS}
        wanted |= {"sweeper stopped beyond its lease": faults, "returns": verdict.counts}
    return [f"there were no {what}" for what, counts in wanted.items() if not counts[what]]


@contextmanager
def _trouble(
    plan: Plan, server: OwnServer, archive: Database, faults: Counter[str], problems: list[str], until: float
) -> Iterator[None]:
    """The server dies and comes back, and the database is away for a while, each in its own time."""
    stop = threading.Event()

    def again(what: str, apart: tuple[float, float], work: Callable[[random.Random], None]) -> None:
        chance = random.Random(f"{plan.seed} {what}")
        try:
            while not stop.wait(chance.uniform(*apart)) and time.time() < until:
                work(chance)
                faults[what] += 1
        except Exception:  # noqa: BLE001 - whatever it is, the run has failed
            problems.append(traceback.format_exc())

    kinds = [
        ("server killed", plan.restarts_apart, lambda chance: server.kill_and_restart(chance.uniform(0.1, 0.8))),
        ("database away", plan.outages_apart, lambda chance: archive.away(TIMEOUT + chance.uniform(0.5, 2.0))),
    ]
    threads = [threading.Thread(target=again, args=kind, daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60.0)


def _wait_until_drained(url: str, problems: list[str]) -> None:
    """Wait until conversations, tombstones and index are gone; what is left is for the judge."""
    deadline = time.monotonic() + _DRAINED_WITHIN
    with redis.Redis.from_url(url) as client:
        while any(not _keys.is_customer(key.decode()) for key in client.scan_iter(count=1000)):
            if time.monotonic() > deadline:
                problems.append(f"not all had left the store within {_DRAINED_WITHIN:g} s")
                return
            time.sleep(IDLE / 5)
