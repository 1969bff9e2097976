"""A sweeper that dies at a given step of its way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from archive_soak.plan import IDLE, LEASE, PREFIX, TIMEOUT, TOMBSTONE, merge
from sweeper_steps import READ, step_of

from redstate import AsyncStore
from redstate._call import Query
from redstate.archive import SqlArchive
from redstate.archive.sweeper import Sweeper
from redstate.archive.threads import ArchiveThread, LoopArchive

FAILPOINT = "REDSTATE_SOAK_FAILPOINT"
"""The variable that names the step, and how often it is passed before: "committed 3"."""

_SOON: dict[str, Any] = {"lease": LEASE, "poll": 0.1}
STEPS = (
    "claimed",
    "reading",
    "collecting",
    "merging",
    "merged",
    "writing",
    "committed",
    "deleting",
    "settling",
    "settled",
)


class Failpoint:
    """Kills this process when its step is reached for the last time allowed."""

    def __init__(self, told: str) -> None:
        step, _, times = told.partition(" ")
        self._step = step
        self._left = int(times or 1)

    def passed(self, step: str) -> bool:
        """Whether this is where to die."""
        if step != self._step:
            return False
        self._left -= 1
        return self._left == 0

    def reach(self, step: str) -> None:
        """Die here, if this is the place."""
        if self.passed(step):
            die()


def die() -> None:
    """At once, with no word to anybody."""
    os.kill(os.getpid(), signal.SIGKILL)


class _FailingArchive:
    """An archive at whose writes the process may die: before the transaction, in the middle of it, or after it."""

    def __init__(self, archive: SqlArchive, failpoint: Failpoint) -> None:
        self._archive = archive
        self._failpoint = failpoint

    def put(self, rows: list[Any], *confirm: Any) -> None:
        if self._failpoint.passed("writing"):
            threading.Timer(random.SystemRandom().uniform(0.0, 0.004), die).start()
        self._archive.put(rows, *confirm)
        self._failpoint.reach("committed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)


class FailingSweeper(Sweeper):
    """A sweeper with a failpoint."""

    def __init__(self, store: AsyncStore, failpoint: Failpoint, **options: Any) -> None:
        super().__init__(store, **options)
        self._failpoint = failpoint
        real: Callable[[Query[Any]], Coroutine[Any, Any, Any]] = self._ask

        async def ask(call: Query[Any]) -> Any:
            name = step_of(call)
            if name == "due_settle":
                failpoint.reach("settling")
            reply = await real(call)
            failpoint.reach({"due_claim": "claimed", "due_settle": "settled"}.get(name, ""))
            return reply

        self._ask = ask
        archive: Any = _FailingArchive(self._archive.thread.archive, failpoint)
        self._archive = LoopArchive(ArchiveThread(archive, owned=False))

    async def _merge_one(self, row: Any, span: Any) -> None:
        await super()._merge_one(row, span)
        self._failpoint.reach("merging")

    async def _archive_all(self, batch: Any) -> None:
        self._failpoint.reach("merged")
        await super()._archive_all(batch)

    async def _ask_all(self, calls: list[Query[Any]]) -> list[Any]:
        results = await super()._ask_all(calls)
        steps = {READ: "reading", "conversation_collect": "collecting", "conversation_archived": "deleting"}
        self._failpoint.reach(steps[step_of(*calls)])
        return results


async def main(url: str, archive: str) -> None:
    """Sweep until SIGTERM, or the death that the environment names."""
    store = AsyncStore.from_url(
        url, archive=archive, key_prefix=PREFIX, idle=IDLE, tombstone_ttl=TOMBSTONE, timeout=TIMEOUT, merge=merge
    )
    async with store:
        sweeper = FailingSweeper(store, Failpoint(os.environ.get(FAILPOINT, "")), batch=20, concurrency=4, **_SOON)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sweeper.stop)
        await sweeper.run()
