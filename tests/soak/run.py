"""One run of the soak: a server, its processes, and the trouble between them; what came of it is added up and judged.

Before each process stands a proxy of its own, so that what goes wrong for one does not for the others.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak.judge import Counts
from soak.ledger import Ledger, now
from soak.plan import Plan
from soak.trouble import KINDS, OwnServer, Trouble

from redstate import Store
from redstate.testing.proxy import FaultProxy

_TESTS = Path(__file__).parents[1]
_PREFIX = "soak"
_READY_WITHIN, _ENDED_WITHIN = 60.0, 90.0
_LOOK_EVERY = 0.1
_LEAST_HITS = 0.2  # of the reads


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        plan: what was run.
        seconds: how long it took, start and end of the processes not counted.
        counts: what the readers counted.
        faults: how many came about, by kind.
        stats: of the near caches, summed up.
        writes, unknown: acknowledged writes, and calls whose outcome was unknown at first.
        problems: what went wrong, in words; none in a good run.
    """

    plan: Plan
    seconds: float
    counts: Counts
    faults: dict[str, int]
    stats: dict[str, int]
    writes: int
    unknown: int
    problems: list[str]


def soak(plan: Plan, folder: Path) -> Outcome:
    """Run until the goal is reached.

    Args:
        plan: how long and how hard.
        folder: an empty one, for the server's data and the ledger.
    """
    trouble = Trouble(plan.staleness, plan.seed)
    with contextlib.ExitStack() as stack:
        server = OwnServer(_steady_port(), folder)
        stack.callback(server.close)
        proxies = [stack.enter_context(FaultProxy(server.url)) for _ in range(plan.processes)]
        origin = now()
        ledger = stack.enter_context(Ledger.create(folder / "ledger", plan.processes, plan.keys, origin))
        _seed_records(server.url, plan, ledger)
        workers = stack.enter_context(_workers(plan, proxies, folder / "ledger", origin))
        _wait_until_ready(workers, ledger)
        began = time.monotonic()
        with trouble.made(proxies, server, plan.faults_apart, plan.restarts_apart):
            _watch(plan, workers, ledger, trouble, began)
        seconds = time.monotonic() - began
        reports, problems = _reports(workers)
        problems += trouble.failures
        outcome = _added_up(plan, seconds, reports, problems, dict(trouble.done))
        _compare(server.url, plan, ledger, outcome)
    _judge(outcome)
    return outcome


def _steady_port() -> int:
    """A free port that no outgoing connection is given by chance while the server is down."""
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def _seed_records(url: str, plan: Plan, ledger: Ledger) -> None:
    with Store.from_url(url, key_prefix=_PREFIX) as store:
        for key, state in enumerate(_states(store, plan)):
            ledger.acknowledge(key, state.increment("n"))


def _states(store: Store, plan: Plan) -> list[Any]:
    conversations = [store.conversation(f"c{number}").state for number in range(plan.conversations)]
    return conversations + [store.customer(f"p{number}").state for number in range(plan.customers)]


@contextlib.contextmanager
def _workers(plan: Plan, proxies: list[FaultProxy], path: Path, origin: float) -> Iterator[list[subprocess.Popen[str]]]:
    """The processes; those that are left at the end of the block are killed."""
    workers: list[subprocess.Popen[str]] = []
    try:
        for number, proxy in enumerate(proxies):
            arguments = [proxy.url, _PREFIX, str(path), repr(origin), str(number), plan.to_json()]
            command = [sys.executable, "-m", "soak.worker", *arguments]
            workers.append(
                subprocess.Popen(command, cwd=_TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _wait_until_ready(workers: list[subprocess.Popen[str]], ledger: Ledger) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not all(ledger.told("ready")):
        if time.monotonic() > deadline or any(worker.poll() is not None for worker in workers):
            raise RuntimeError("a process of the soak did not start")
        time.sleep(_LOOK_EVERY)


def _watch(plan: Plan, workers: list[subprocess.Popen[str]], ledger: Ledger, trouble: Trouble, began: float) -> None:
    """Wait until the goal is reached, or there is no hope of it."""
    next_line = began + (plan.progress or plan.longest_run)
    while sum(ledger.told("invalidations")) < plan.goal or not all(trouble.done[kind] for kind in KINDS):
        time.sleep(_LOOK_EVERY)
        at = time.monotonic()
        if at > began + plan.longest_run or trouble.failures or any(worker.poll() is not None for worker in workers):
            return
        if at > next_line:
            next_line += plan.progress
            _progress(at - began, plan, ledger, trouble)


def _progress(seconds: float, plan: Plan, ledger: Ledger, trouble: Trouble) -> None:
    reads, heard, writes, bad = (sum(ledger.told(name)) for name in ("reads", "invalidations", "writes", "violations"))
    faults = sum(trouble.done.values())
    print(
        f"{seconds:5.0f} s: {heard:9,} of {plan.goal:,} invalidations, {writes:8,} writes, {reads:10,} reads, "
        f"{faults:4} faults, {bad} violations",
        file=sys.stderr,
        flush=True,
    )


def _reports(workers: list[subprocess.Popen[str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the processes have to say, once they are told to stop; and what is wrong with that."""
    reports: list[dict[str, Any]] = []
    problems: list[str] = []
    for worker in workers:
        assert worker.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write("stop\n")
            worker.stdin.flush()
    for number, worker in enumerate(workers):
        try:
            output, _ = worker.communicate(timeout=_ENDED_WITHIN)
            reports.append(json.loads(output))
            problems += [f"process {number}: {failure}" for failure in reports[-1]["failures"]]
        except (subprocess.TimeoutExpired, ValueError) as error:
            problems.append(f"process {number} ended with {worker.returncode} and no report: {type(error).__name__}")
    return reports, problems


def _added_up(
    plan: Plan, seconds: float, reports: list[dict[str, Any]], problems: list[str], faults: dict[str, int]
) -> Outcome:
    counts, stats = Counts(), dict.fromkeys(_SUMMED, 0)
    for report in reports:
        counts.add(report["counts"])
        for name in _SUMMED:
            stats[name] += report["stats"][name]
        for reason, count in report["stats"]["bypasses"].items():
            stats[f"bypasses: {reason}"] = stats.get(f"bypasses: {reason}", 0) + count
    writes, unknown = (sum(report[name] for report in reports) for name in ("writes", "unknown"))
    return Outcome(plan, seconds, counts, faults, stats, writes, unknown, problems)


_SUMMED = (
    "hits", "misses", "joins", "invalidations", "unheld", "late_fills", "drops", "reconnects", "evictions", "audits",
    "audit_mismatches",
)  # fmt: skip


def _compare(url: str, plan: Plan, ledger: Ledger, outcome: Outcome) -> None:
    """No acknowledged write is lost, and none was made that nobody knows of."""
    with Store.from_url(url, key_prefix=_PREFIX, max_staleness=0) as store:
        stored = [int(state.get("n")) for state in _states(store, plan)]
    highest = [ledger.highest(key) for key in range(plan.keys)]
    wrong = {key: pair for key, pair in enumerate(zip(stored, highest, strict=True)) if pair[0] != pair[1]}
    if wrong:
        outcome.problems.append(f"records whose value is not the highest that was acknowledged: {wrong}")
    if sum(stored) != outcome.writes + plan.keys:
        outcome.problems.append(f"{outcome.writes + plan.keys:,} acknowledged writes made {sum(stored):,}")


def _judge(outcome: Outcome) -> None:
    """Whether everything that the soak is about took place, and nothing that must not."""
    counts, plan, problems = outcome.counts, outcome.plan, outcome.problems
    for kind, count in counts.violations.items():
        if count:
            told = [example for example in counts.examples if example["kind"] == kind]
            problems.append(f"{count:,} reads: {kind}, such as {told[:5]}")
    if outcome.stats["invalidations"] < plan.goal:
        problems.append(f"only {outcome.stats['invalidations']:,} invalidations in {outcome.seconds:.0f} s")
    if outcome.stats["hits"] < _LEAST_HITS * counts.reads:
        problems.append(f"only {outcome.stats['hits']:,} hits in {counts.reads:,} reads")
    problems += [f"no fault of the kind: {kind}" for kind in KINDS if not outcome.faults.get(kind)]
