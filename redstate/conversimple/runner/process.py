"""A process that the supervisor has started, as it sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from redstate.conversimple.runner.settings import RunnerSettings

_LAST_REPORTS = 1.0  # seconds that what a dead worker reported has to be read

Heard = Callable[[Any, dict[str, Any]], None]


class ChildProcess:
    """A running process that reports. It must be made in the event loop.

    Args:
        module: what it runs.
        number: which worker it is, from 1; 0 for any other process.
        settings: the runner's: of its output and its environment.
        line: what it is told, made of the file descriptor of its reports.
        heard: is called in the event loop with the process and each report.

    Attributes:
        number: as given.
        ended: the exit status, once it ended; after its last report was heard.
        ready_at, heard_at: when it got ready and when it last reported, in seconds of the loop's clock.
        reason: why it ends, if that is known: ``"stopped"``, ``"replaced"``, ``"failed"``, ``"stalled"``.
        killed: whether it had to be killed.
    """

    patience = 1.0
    """How many times as long as a worker it may be silent before it is killed."""

    def __init__(
        self, module: str, number: int, settings: RunnerSettings, line: Callable[[int], bytes], heard: Heard
    ) -> None:
        self.number = number
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self.started_at = self._loop.time()
        self.heard_at = self.started_at
        self.ready_at: float | None = None
        self.settled: asyncio.Future[bool] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.reason: str | None = None
        self.killed = False
        reports, its_end = os.pipe()
        try:
            self._process = _start(module, settings, number, its_end)
        except BaseException:
            os.close(reports)
            raise
        finally:
            os.close(its_end)
        self._begin(reports, line(its_end))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ready_for(self) -> float:
        """The seconds that it has been ready; 0 if it is not."""
        return 0.0 if self.ready_at is None else self._loop.time() - self.ready_at

    async def until_ready(self) -> bool:
        """Wait until it is ready; False if it ended before."""
        return await asyncio.shield(self.settled)

    def terminate(self, reason: str) -> None:
        """Have it drain and end."""
        self.reason = self.reason or reason
        self._process.terminate()

    def kill(self, reason: str) -> None:
        """End it now, and what it started."""
        if self.ended.done():
            return
        self.reason = self.reason or reason
        self.killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def retire(self, reason: str, patience: float) -> None:
        """Have it drain, and kill it if it takes longer than ``patience`` seconds."""
        self.terminate(reason)
        await asyncio.wait((self.ended,), timeout=patience)
        self.kill(reason)
        await asyncio.shield(self.ended)

    def _begin(self, reports: int, line: bytes) -> None:
        reader = threading.Thread(target=self._read, args=(reports,), name=f"child-{self.number}-reports", daemon=True)
        reader.start()
        # Popen's own wait, in a thread: asyncio's subprocesses can miss the end of one that is killed as it starts.
        threading.Thread(target=self._wait, args=(reader,), name=f"child-{self.number}-end", daemon=True).start()
        assert self._process.stdin is not None
        # One line fits the pipe; that a worker is dead already is found by its end.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _read(self, reports: int) -> None:
        with open(reports, "rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    self._call(self._take, json.loads(line))

    def _wait(self, reader: threading.Thread) -> None:
        status = self._process.wait()
        # A process that the worker forked may hold the pipe open.
        reader.join(_LAST_REPORTS)
        self._call(self._end, status)

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, argument)

    def _take(self, report: dict[str, Any]) -> None:
        self.heard_at = self._loop.time()
        if report.get("type") == "ready" and self.ready_at is None:
            self.ready_at = self.heard_at
        if report.get("type") == "failed":
            self.reason = self.reason or "failed"
        self._heard(self, report)
        if self.ready_at is not None and not self.settled.done():
            self.settled.set_result(True)

    def _end(self, status: int) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if not self.settled.done():
            self.settled.set_result(False)
        self.ended.set_result(status)


class WorkerProcess(ChildProcess):
    """A running worker.

    Args:
        settings: the runner's.
        number: which worker it is, from 1.
        heard: is called in the event loop with the process and each report.
        check: the worker only looks which agents there are.
    """

    def __init__(self, settings: RunnerSettings, number: int, heard: Heard, *, check: bool = False) -> None:
        def line(report_fd: int) -> bytes:
            return settings.for_worker(number, report_fd, check=check).to_line()

        super().__init__("redstate.conversimple.runner.worker", number, settings, line, heard)


def _start(module: str, settings: RunnerSettings, number: int, report_fd: int) -> subprocess.Popen[bytes]:
    # A process group of its own keeps the terminal's Ctrl-C away; -P keeps the current folder's modules away, until
    # the worker puts the agents' folder first. stdout takes what agents print.
    return subprocess.Popen(  # noqa: S603 - modules of ours only
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=settings.output,
        stderr=settings.output,
        pass_fds=(report_fd,),
        process_group=0,
        env=settings.environment_of(number),
    )
