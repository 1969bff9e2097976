"""The supervisor: as many workers as wanted, always, and a sweeper beside them where there is an archive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from redstate._child import CONFIGURATION
from redstate.conversimple.runner.backoff import Backoff
from redstate.conversimple.runner.check import check_agents
from redstate.conversimple.runner.events import Observer, WorkerEvent
from redstate.conversimple.runner.process import ChildProcess, WorkerProcess
from redstate.conversimple.runner.settings import RunnerSettings
from redstate.conversimple.runner.slot import Slot
from redstate.conversimple.runner.sweeping import SWEEPER, SweeperProcess
from redstate.errors import ConfigurationError

logger = logging.getLogger("redstate.conversimple.runner")

_LAST_RESORT = 5.0  # seconds after the grace period when a worker that does not end is killed
_LOOK_EVERY = 0.25


class RestartFailed(Exception):
    """A replacement did not get ready, and the old one goes on. Attributes: ``number``, 0 for the sweeper."""

    def __init__(self, number: int) -> None:
        self.number = number
        kind, which = ("sweeper", "the sweeper") if number == SWEEPER else ("worker", f"worker {number}")
        super().__init__(f"the replacement of {which} did not get ready; the old {kind} goes on")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's process: its number, its process id, and whether it is ready."""

    number: int
    pid: int
    ready: bool


class Supervisor:
    """Runs the workers, also as an async context manager that starts and stops them.

    Args:
        settings: what to run.
        observers: are told of each event, in the event loop; see ``WorkerEvent``.
        backoff: makes the pauses before a worker's restarts.

    Attributes:
        agents: the names of the agents that the workers serve, once that is known.
        looked_at: when it last looked after its workers, in seconds of the event loop's clock.
    """

    def __init__(
        self, settings: RunnerSettings, *observers: Observer, backoff: Callable[[], Backoff] = Backoff
    ) -> None:
        self._settings = settings
        self._observers = observers
        self._backoff = backoff
        self._slots: list[Slot] = []
        self._sweeper: Slot | None = None
        self._rolling = asyncio.Lock()
        self._stopped = asyncio.Event()
        self._care: asyncio.Task[None] | None = None
        self._hopeless: asyncio.Future[ConfigurationError] | None = None
        self.stopping = False
        self.agents: tuple[str, ...] = ()
        self.looked_at = 0.0

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.kill()
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # What is known

    @property
    def workers(self) -> list[WorkerInfo]:
        """The processes that live, in order of their numbers; during a replacement the number's old one comes first."""
        return [
            WorkerInfo(process.number, process.pid, process.ready_at is not None)
            for slot in self._slots
            for process in list(slot.processes)
        ]

    @property
    def pids(self) -> dict[int, int]:
        """The process ids of the workers that are to serve now, by their numbers."""
        return {slot.number: slot.current.pid for slot in self._slots if slot.current is not None}

    @property
    def ready(self) -> int:
        """How many of the workers are ready."""
        return sum(slot.ready.is_set() for slot in self._slots)

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self._settings.workers

    # What it does

    async def start(self) -> None:
        """Start the workers, and wait until all are ready. Those that cannot start are tried again meanwhile.

        Raises:
            ConfigurationError: a setting cannot work, or there is no agent to serve; no worker is left.
        """
        self._settings.check()
        if not self._settings.classes:
            self.agents = await check_agents(self._settings)
        loop = asyncio.get_running_loop()
        self._hopeless = loop.create_future()
        self._slots = [Slot(number, self._launch, self._tell, self._backoff()) for number in range(1, self.wanted + 1)]
        if self._settings.sweeps:
            self._sweeper = Slot(SWEEPER, self._launch, self._tell, self._backoff())
        for slot in self._kept:
            slot.start()
        self._care = asyncio.create_task(self._look_after())
        ready = asyncio.ensure_future(asyncio.gather(*(slot.ready.wait() for slot in self._kept)))
        try:
            await asyncio.wait((ready, self._hopeless), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ready
        if not self._hopeless.done():
            self._hopeless.cancel()
            return
        self.kill()
        await self.stop()
        raise self._hopeless.result()

    async def restart(self, number: int) -> None:
        """Replace a worker: start another one of its number, and when that is ready, have the old one drain and end.

        Args:
            number: the worker's, from 1.

        Raises:
            RestartFailed: the new one did not get ready; the old one goes on.
        """
        await self._replace(self._slots[number - 1])

    async def rolling_restart(self) -> None:
        """Replace all workers and the sweeper, one after another; as many as wanted are ready all the time.

        Raises:
            RestartFailed: a new one did not get ready; the workers that are left go on as they are.
        """
        async with self._rolling:
            for slot in self._kept:
                if not self.stopping:
                    await self._replace(slot)

    async def stop(self) -> bool:
        """Have all workers drain, and kill those that take five seconds more than the grace period.

        Returns:
            Whether all ended in order: none had to be killed.
        """
        self.stopping = True
        ends = await asyncio.gather(*(slot.stop(self._patience) for slot in self._kept))
        if self._care is not None:
            self._care.cancel()
        self._stopped.set()
        return all(ends)

    def kill(self) -> None:
        """Kill all workers at once; ``stop()`` then returns when they have ended."""
        self.stopping = True
        for slot in self._kept:
            slot.kill()

    async def wait(self) -> None:
        """Wait until the workers were stopped."""
        await self._stopped.wait()

    # How it works

    @property
    def _patience(self) -> float:
        return self._settings.grace + _LAST_RESORT

    @property
    def _kept(self) -> list[Slot]:
        """The workers' places, and the sweeper's."""
        return self._slots if self._sweeper is None else [*self._slots, self._sweeper]

    async def _replace(self, slot: Slot) -> None:
        if not await slot.replace(self._patience) and not self.stopping:
            raise RestartFailed(slot.number)

    def _launch(self, number: int, replacement: bool) -> ChildProcess:
        process: ChildProcess
        if number == SWEEPER:
            process = SweeperProcess(self._settings, self._heard)
        else:
            process = WorkerProcess(self._settings, number, self._heard)
        self._tell(process, "started", replacement=replacement)
        return process

    def _heard(self, process: ChildProcess, report: dict[str, Any]) -> None:
        kind = report.pop("type")
        if kind == "ready":
            if process.number == SWEEPER:
                assert self._sweeper is not None
                self._sweeper.became_ready(process)
            else:
                self.agents = tuple(report["agents"])
                self._slots[process.number - 1].became_ready(process)
        elif kind == "failed" and report["status"] == CONFIGURATION and self._hopeless and not self._hopeless.done():
            self._hopeless.set_result(ConfigurationError(report["message"], next_step=report["next_step"]))
        self._tell(process, kind, **report)

    def _tell(self, process: ChildProcess, kind: str, /, **data: Any) -> None:
        kind = f"sweeper_{kind}" if process.number == SWEEPER else kind
        event = WorkerEvent(kind, process.number, process.pid, data)
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                # An observer is not worth a worker.
                logger.exception("an observer failed at %r of worker %d", kind, process.number)

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.looked_at = loop.time()
            await asyncio.sleep(_LOOK_EVERY)
            # While this process stood still, reports waited in the pipes: they are read first.
            if loop.time() - self.looked_at < self._settings.stall_timeout / 2 + _LOOK_EVERY:
                for slot in self._kept:
                    for process in slot.processes:
                        self._kill_if_stalled(process, loop.time())

    def _kill_if_stalled(self, process: ChildProcess, now: float) -> None:
        settings = self._settings
        ready = process.ready_at is not None
        silent = now - (process.heard_at if ready else process.started_at)
        patience = process.patience * (settings.stall_timeout if ready else settings.start_timeout)
        if not process.killed and silent > patience:
            self._tell(process, "stalled", seconds=round(silent, 3), ready=ready)
            process.kill("stalled")
