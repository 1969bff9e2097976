"""A process of the soak: threads and tasks that read and write through one near cache, until a line comes on stdin.

It prints its report as JSON then. In the tests' folder: python -m soak.worker URL PREFIX LEDGER ORIGIN NUMBER PLAN
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soak.judge import Counts, Judge, Known
from soak.ledger import Ledger
from soak.plan import Plan
from soak.readers import AsyncReader, Reader
from soak.writers import AsyncWriter, Writer

from redstate import AsyncStore, Store

TIMEOUT = 30.0  # calls outlast a restart of the server
_LITTLE_MEMORY = 130_000  # bytes of the last process's near cache: less than all records take, so that some are evicted
_TOLD_EVERY = 0.1  # seconds
# Threads change places far more often than usual, so that they meet in the middle of things.
_SWITCH_INTERVAL = 0.0002


class Alarm(logging.Handler):
    """Takes what redstate logs: that a connection is lost is no news here, but no error may come as a surprise."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__()
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        """An error that nobody expected comes with its trace."""
        if record.exc_info:
            self._failures.append(logging.Formatter().format(record))


class Process:
    """What the threads and tasks of this process share.

    Attributes:
        stopping: whether to come to an end.
        failures: tracebacks of what should not have happened.
    """

    def __init__(self, url: str, prefix: str, number: int, plan: Plan, ledger: Ledger) -> None:
        self.number = number
        self.plan = plan
        self.ledger = ledger
        self.known = Known(plan.keys)
        self.stopping = threading.Event()
        self.failures: list[str] = []
        self.judges: list[Judge] = []
        self.writers: list[Writer | AsyncWriter] = []
        self.options: dict[str, Any] = {"key_prefix": prefix, "timeout": TIMEOUT, "max_staleness": plan.staleness}
        if number == plan.processes - 1:
            self.options["near_cache_bytes"] = _LITTLE_MEMORY
        logging.getLogger("redstate").addHandler(Alarm(self.failures))
        self.store = Store.from_url(url, **self.options)
        self.url = url

    def judge(self, name: str) -> Judge:
        """The judge of one more reader."""
        judge = Judge(f"{self.number} {name}", self.ledger, self.known, self.plan.staleness)
        self.judges.append(judge)
        return judge

    def seed(self, name: str) -> str:
        """Where the chance of one of its parts begins."""
        return f"{self.plan.seed} {self.number} {name}"

    def guarded(self, work: Callable[[], Any]) -> None:
        """Do the work; what it raises fails the run."""
        try:
            work()
        except BaseException:  # noqa: BLE001 - said in the report
            self.failures.append(traceback.format_exc())

    def threads(self) -> list[threading.Thread]:
        """Everything that goes on at once."""
        readers = [Reader(self, f"thread {number}") for number in range(self.plan.threads)]
        writers = [Writer(self, "patient"), Writer(self, "hasty")]
        self.writers += writers
        works = [one.run for one in readers] + [one.run for one in writers] + [lambda: asyncio.run(self.tasks())]
        return [threading.Thread(target=self.guarded, args=(work,), daemon=True) for work in works]

    async def tasks(self) -> None:
        """The same in an event loop."""
        options = dict(self.options)
        if self.number % 2:
            options["customer_sync"] = "update"
        async with AsyncStore.from_url(self.url, **options) as store:
            await store.ping()
            readers = [AsyncReader(self, store, f"task {number}") for number in range(self.plan.tasks)]
            writers = [AsyncWriter(self, store, "patient task"), AsyncWriter(self, store, "hasty task")]
            self.writers += writers
            self.ledger.tell(self.number, ready=1)
            await asyncio.gather(*[one.run() for one in readers], *[one.run() for one in writers])

    def tell(self) -> None:
        """Let the parent know how far it is."""
        counts = [judge.counts for judge in self.judges]
        self.ledger.tell(
            self.number,
            reads=sum(one.reads for one in counts),
            invalidations=self.store.nearcache.stats().invalidations,
            writes=sum(writer.acknowledged for writer in self.writers),
            violations=sum(sum(one.violations.values()) for one in counts),
        )

    def report(self) -> dict[str, Any]:
        """What came of it all."""
        total = Counts()
        for judge in self.judges:
            total.add(asdict(judge.counts))
        return {
            "counts": asdict(total),
            "stats": asdict(self.store.nearcache.stats()),
            "writes": sum(writer.acknowledged for writer in self.writers),
            "unknown": sum(writer.unknown for writer in self.writers),
            "failures": self.failures,
        }


def told_to_stop() -> bool:
    """Wait a little for the parent to say so. Where it is gone, this process is gone, too."""
    if not select.select([sys.stdin], [], [], _TOLD_EVERY)[0]:
        return False
    if not os.read(sys.stdin.fileno(), 64):
        os._exit(1)
    return True


def main() -> None:
    # Ctrl-C is for the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    url, prefix, path, origin, number, plan = sys.argv[1:]
    shape = Plan(**json.loads(plan))
    with Ledger(Path(path), shape.processes, shape.keys, float(origin)) as ledger:
        process = Process(url, prefix, int(number), shape, ledger)
        process.store.ping()
        threads = process.threads()
        for thread in threads:
            thread.start()
        while not process.failures and not told_to_stop():
            process.tell()
        process.stopping.set()
        for thread in threads:
            thread.join()
        process.tell()
        print(json.dumps(process.report()))
        process.store.close()


if __name__ == "__main__":
    main()
