"""Kills one of the workers and replaces another while conversations run, and tells what becomes of theirs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping

from redstate.conversimple.runner import RestartFailed, Supervisor, WorkerEvent
from redstate.demo.display import Display
from redstate.demo.errors import DemoFailed

# After which share of the conversations a worker is killed, and the next one is replaced.
_KILL_AT, _REPLACE_AT = 0.2, 0.6
# Take-overs come one conversation at a time; those of so many seconds are told together.
_TOLD_TOGETHER = 0.25
# How long to wait for the first trouble to be over, in seconds: a lease, and something.
_TAKE_OVER = 5.0


class Trouble:
    """Makes trouble, and watches.

    Args:
        display: is told.
        conversations: how many there are in all.

    Attributes:
        killed, replaced: how many workers were.
        taken_over: how many conversations went from one worker to another.
    """

    def __init__(self, display: Display, conversations: int) -> None:
        self.killed = 0
        self.replaced = 0
        self.taken_over = 0
        self._display = display
        self._conversations = conversations
        self._finished = 0
        self._served: Mapping[str, int] = {}
        self._changed = asyncio.Event()
        self._since: float | None = None
        # Take-overs that are still to be told, by worker.
        self._untold: Counter[int] = Counter()
        self._told = asyncio.Event()
        self._telling: asyncio.TimerHandle | None = None

    def progress(self, finished: int, served: Mapping[str, int]) -> None:
        """So many conversations have come to their end; ``served``: the worker of each that is going on."""
        self._finished = finished
        self._served = served
        self._changed.set()

    def observe(self, event: WorkerEvent) -> None:
        """Something happened to a worker."""
        if event.kind == "event" and event.data.get("event") == "took_over":
            self.taken_over += 1
            self._untold[event.worker] += 1
            if self._telling is None:
                self._telling = asyncio.get_running_loop().call_later(_TOLD_TOGETHER, self._tell)

    async def make(self, supervisor: Supervisor) -> None:
        """Kill a worker, and later replace another, as the conversations go on. Ends when that is done."""
        numbers = sorted(supervisor.pids)
        await self._until(_KILL_AT)
        if not supervisor.pids:
            raise DemoFailed("there is no worker left to kill")
        # Whoever claims first has a conversation, so one of them may have none just now.
        victim = max(sorted(supervisor.pids), key=Counter(self._served.values()).__getitem__)
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor.pids[victim], signal.SIGKILL)
        self._since = time.monotonic()
        self.killed += 1
        self._display.note(f"Worker {victim} is killed (SIGKILL) in the middle of its calls")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TAKE_OVER):
                await self._told.wait()
        await self._until(_REPLACE_AT)
        leaving = numbers[-1] if numbers[-1] != victim else numbers[0]
        self._display.note(f"Worker {leaving} is replaced (SIGTERM): it finishes its calls and hands over the rest")
        self._since = time.monotonic()
        try:
            await supervisor.restart(leaving)
        except RestartFailed as error:
            raise DemoFailed(f"worker {leaving} could not be replaced: {error}") from error
        self.replaced += 1
        self._display.note(f"Worker {leaving} was replaced after {time.monotonic() - self._since:.1f} s")

    def end(self) -> None:
        """Tell what is untold."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell()

    async def _until(self, share: float) -> None:
        while self._finished < share * self._conversations:
            self._changed.clear()
            await self._changed.wait()

    def _tell(self) -> None:
        self._telling = None
        after = "" if self._since is None else f", {time.monotonic() - self._since - _TOLD_TOGETHER:.1f} s later"
        for worker, count in sorted(self._untold.items()):
            what = "1 conversation" if count == 1 else f"{count:,} conversations"
            self._display.note(f"Worker {worker} took over {what}{after}")
        self._untold.clear()
        self._told.set()
