"""The worker processes: started together, watched while the demo runs, gone with it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")

_GRACE = 5.0  # seconds that workers have to end by themselves
_LAST_WORDS = 2_000  # bytes of a worker's stderr that are shown


class DemoFailed(Exception):
    """The demo could not be brought to its end; says why."""


class WorkerDied(DemoFailed):
    """A worker process ended while it was needed."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know.

    Attributes:
        number: which worker it is, from 1.
        store_url, key_prefix, ttl: the server, and how its keys begin and how many seconds they live.
        platform_url, api_key: the platform to join.
    """

    number: int
    store_url: str
    key_prefix: str
    ttl: float
    platform_url: str
    api_key: str


@dataclass(frozen=True, slots=True)
class _Worker:
    number: int
    process: Process
    stderr: IO[bytes]

    def obituary(self) -> str:
        status = self.process.returncode
        assert status is not None
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        size = self.stderr.seek(0, 2)
        self.stderr.seek(max(0, size - _LAST_WORDS))
        words = self.stderr.read().decode("utf-8", "replace").strip()
        return f"worker {self.number} (pid {self.process.pid}) {how}" + (f"; its last words:\n{words}" if words else "")


class WorkerPool:
    """Worker processes, as an async context manager."""

    def __init__(self, workers: list[WorkerSettings]) -> None:
        self._settings = workers
        self._workers: list[_Worker] = []

    @property
    def pids(self) -> list[int]:
        """The process ids, worker 1 first."""
        return [worker.process.pid for worker in self._workers]

    async def __aenter__(self) -> Self:
        try:
            for settings in self._settings:
                await self._start(settings)
        except BaseException:
            await finish(self._stop())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await finish(self._stop())

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` while every worker lives.

        Raises:
            WorkerDied: one ended; the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        exits = [asyncio.ensure_future(worker.process.wait()) for worker in self._workers]
        try:
            await asyncio.wait([task, *exits], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and task.exception() is not None:
                # A dying worker breaks calls first and is reaped a moment later; its death is what explains them.
                await asyncio.wait(exits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            dead = [worker for worker in self._workers if worker.process.returncode is not None]
            if dead and not (task.done() and task.exception() is None):
                raise WorkerDied(dead[0].obituary())
            return await task
        finally:
            for one in (task, *exits):
                one.cancel()
            await asyncio.gather(task, *exits, return_exceptions=True)

    async def _start(self, settings: WorkerSettings) -> None:
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _stop
        try:
            # A process group of its own keeps Ctrl-C away: the end of stdin tells the worker when to go.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "redstate.demo.worker",
                stdin=PIPE, stdout=DEVNULL, stderr=stderr, process_group=0,
            )  # fmt: skip
        except BaseException:
            stderr.close()
            raise
        self._workers.append(_Worker(settings.number, process, stderr))
        assert process.stdin is not None
        # Not drained: one line fits the pipe, and a worker that is dead already is found by watch().
        process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")

    async def _stop(self) -> None:
        for worker in self._workers:
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        ends = [asyncio.ensure_future(worker.process.wait()) for worker in self._workers]
        if ends:
            await asyncio.wait(ends, timeout=_GRACE)
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()
            worker.stderr.close()
        await asyncio.gather(*ends)
        self._workers.clear()


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` to its end, also when the caller is cancelled meanwhile: for cleaning up."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
