"""The worker processes: started together, watched while the demo runs, gone with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")

_GRACE = 5.0  # seconds that workers have to end by themselves
_NO_GRACE = 0.0
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
    process: subprocess.Popen[bytes]
    stderr: IO[bytes]
    ended: asyncio.Future[int]

    def obituary(self) -> str:
        status = self.ended.result()
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
        self._waiters = ThreadPoolExecutor(max(1, len(workers)), thread_name_prefix="worker-end")

    @property
    def pids(self) -> list[int]:
        """The process ids, worker 1 first."""
        return [worker.process.pid for worker in self._workers]

    async def __aenter__(self) -> Self:
        try:
            for settings in self._settings:
                self._start(settings)
        except BaseException:
            await finish(self._stop(_NO_GRACE))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a failure or Ctrl-C there is nothing left that a worker should bring to its end.
        await finish(self._stop(_GRACE if kind is None else _NO_GRACE))

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` while every worker lives.

        Raises:
            WorkerDied: one ended; the work was cancelled.
        """
        task = asyncio.ensure_future(work)
        exits: list[asyncio.Future[Any]] = [worker.ended for worker in self._workers]
        try:
            await asyncio.wait([task, *exits], return_when=asyncio.FIRST_COMPLETED)
            if task.done() and task.exception() is not None:
                # A dying worker breaks calls first and is reaped a moment later; its death is what explains them.
                await asyncio.wait(exits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            dead = [worker for worker in self._workers if worker.ended.done()]
            if dead and not (task.done() and task.exception() is None):
                raise WorkerDied(dead[0].obituary())
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _start(self, settings: WorkerSettings) -> None:
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _stop
        try:
            # A process group of its own keeps Ctrl-C away: the end of stdin tells the worker when to go.
            process = subprocess.Popen(
                [sys.executable, "-m", "redstate.demo.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr, process_group=0,
            )  # fmt: skip
        except BaseException:
            stderr.close()
            raise
        # Popen's own wait, in a thread: asyncio's subprocesses can miss the end of one that is killed as it starts.
        ended = asyncio.get_running_loop().run_in_executor(self._waiters, process.wait)
        self._workers.append(_Worker(settings.number, process, stderr, ended))
        assert process.stdin is not None
        # One line fits the pipe; a worker that is dead already is found by watch().
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
            process.stdin.flush()

    async def _stop(self, grace: float) -> None:
        for worker in self._workers:
            assert worker.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()
        ends = [worker.ended for worker in self._workers]
        if ends and grace:
            await asyncio.wait(ends, timeout=grace)
        for worker in self._workers:
            worker.process.kill()
        await asyncio.gather(*ends)
        for worker in self._workers:
            worker.stderr.close()
        self._workers.clear()
        self._waiters.shutdown()


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` to its end, also when the caller is cancelled meanwhile: for cleaning up."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
