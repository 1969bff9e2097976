"""One numbered place, in which a process is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redstate.conversimple.runner.backoff import Backoff
from redstate.conversimple.runner.process import ChildProcess

Launch = Callable[[int, bool], ChildProcess]
Tell = Callable[..., None]


# How long a replacement waits for a worker that is about to start again anyhow, in seconds.
_PATIENCE = 60.0


class Slot:
    """Keeps a process running: restarts one that ended, and replaces one on demand.

    Args:
        number: the worker's number, from 1; 0 for another process.
        launch: starts a process of the number; told whether it is a replacement.
        tell: is called with the process, the kind of event and its fields.
        backoff: the pauses before restarts.

    Attributes:
        current: the process that is to serve; None while the next start is waited for.
        processes: all that live; two during a replacement.
        ready: is set while the current process is ready.
    """

    def __init__(self, number: int, launch: Launch, tell: Tell, backoff: Backoff) -> None:
        self.number = number
        self._launch_process = launch
        self._tell = tell
        self._backoff = backoff
        self.current: ChildProcess | None = None
        self.processes: list[ChildProcess] = []
        self.ready = asyncio.Event()
        self._heir: ChildProcess | None = None
        self._replacing = asyncio.Lock()
        self._forgone = asyncio.Event()
        self._watches: set[asyncio.Task[None]] = set()
        self._restart: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the first process."""
        self.current = self._launch(replacement=False)

    def became_ready(self, process: ChildProcess) -> None:
        """Take notice that a process is ready."""
        if process is self.current:
            self.ready.set()

    async def replace(self, patience: float) -> bool:
        """Start another process, and when it is ready, have the old one drain.

        Args:
            patience: seconds after which the old one is killed.

        Returns:
            Whether the new one got ready; otherwise the old one stays.
        """
        async with self._replacing:
            old = self.current
            if old is None:  # a new one is about to start anyhow
                return await self._until_ready()
            return await self._replace(old, patience)

    async def _replace(self, old: ChildProcess, patience: float) -> bool:
        if self._stopping:
            return False
        heir = self._heir = self._launch(replacement=True)
        try:
            if not await heir.until_ready() or heir.ended.done() or self._stopping:
                return False
            self.current = heir
            self.ready.set()
        finally:
            self._heir = None
            if self.current is not heir and not self._stopping:
                heir.kill("stopped")
        if old is not heir:
            await old.retire("replaced", patience)
        return True

    async def stop(self, patience: float) -> bool:
        """Have all processes drain; tells whether none had to be killed in the end."""
        self.forgo()
        processes = list(self.processes)
        await asyncio.gather(*(process.retire("stopped", patience) for process in processes))
        await asyncio.gather(*self._watches, return_exceptions=True)
        return not any(process.killed for process in processes)

    async def _until_ready(self) -> bool:
        waits = [asyncio.ensure_future(event.wait()) for event in (self.ready, self._forgone)]
        try:
            await asyncio.wait(waits, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self.ready.is_set()

    def forgo(self) -> None:
        """Start nothing any more."""
        self._stopping = True
        self._forgone.set()
        self.ready.clear()
        if self._restart is not None:
            self._restart.cancel()

    def kill(self) -> None:
        """End all processes now."""
        self.forgo()
        for process in self.processes:
            process.kill("stopped")

    def _launch(self, *, replacement: bool) -> ChildProcess:
        process = self._launch_process(self.number, replacement)
        self.processes.append(process)
        watch = asyncio.create_task(self._watch(process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return process

    async def _watch(self, process: ChildProcess) -> None:
        status = await asyncio.shield(process.ended)
        self.processes.remove(process)
        reason = process.reason or "crashed"
        self._tell(process, "ended", status=status, reason=reason, killed=process.killed)
        if process is not self.current or self._stopping:
            return
        self.ready.clear()
        if self._heir is not None and self._heir is not process and not self._heir.ended.done():
            self.current = self._heir
            if self._heir.ready_at is not None:
                self.ready.set()
            return
        self.current = None
        pause = self._backoff.pause(process.ready_for)
        self._tell(process, "restarting", pause=pause)
        self._restart = asyncio.create_task(self._start_again(pause))

    async def _start_again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        self.current = self._launch(replacement=False)
