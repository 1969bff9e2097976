"""Runs ``redstate run`` as a process, and waits for what it logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

SERVED = Path(__file__).with_name("served")
COMMAND = [sys.executable, "-c", "import sys; from redstate.cli import main; sys.exit(main())", "run"]
KEY = "key-0123456789"

Line = dict[str, Any]


class Runner:
    """The running command; ``lines`` are what it and its workers have logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[Line] = []
        self.raw: list[str] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.raw.append(line.decode())
            if line.startswith(b"{"):
                self.lines.append(json.loads(line))
            async with self._more:
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def logged(self, words: str, count: int = 1, timeout: float = 30.0) -> list[Line]:
        """Wait until ``count`` lines have the words in their message, and return them all."""

        def found() -> list[Line]:
            return [line for line in self.lines if words in line["message"]]

        await self.until(lambda: len(found()) >= count, f"{count} times {words!r}", timeout)
        return found()

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Wait for a condition on ``lines``."""
        try:
            async with asyncio.timeout(timeout), self._more:
                await self._more.wait_for(lambda: condition() or self._reading.done())
        except TimeoutError:
            pass
        assert condition(), f"not logged: {what}; but: {''.join(self.raw)}"

    def pids(self) -> dict[int, int]:
        """The pids of the workers that got ready last, by number."""
        return {line["worker"]: line["worker_pid"] for line in self.lines if line.get("event") == "worker_ready"}

    async def ended(self, timeout: float = 30.0) -> int:
        """Wait for its end, and return its status."""
        async with asyncio.timeout(timeout):
            status = await self.process.wait()
            await self._reading
        return status


@asynccontextmanager
async def running(
    platform_url: str, url: str, prefix: str, *options: str, workers: int = 2, path: Path = SERVED, ready: bool = True
) -> AsyncIterator[Runner]:
    """Run the command until the block ends; what is left of it is killed then."""
    settings = [
        "--workers",
        str(workers),
        *(("--url", url) if url else ()),
        "--platform-url",
        platform_url,
        "--log-format",
        "json",
    ]
    environment = {**os.environ, "REDSTATE_KEY_PREFIX": prefix, "CONVERSIMPLE_API_KEY": KEY}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, str(path), *settings, *options, env=environment, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    runner = Runner(process)
    try:
        if ready:
            await runner.logged("workers serve ")
        yield runner
    finally:
        if process.returncode is None:
            process.kill()
        for pid in runner.pids().values():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        await runner.ended()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command_line(pid: int) -> str:
    """What a list of processes shows of it."""
    return Path(f"/proc/{pid}/cmdline").read_text()


async def until_gone(pids: list[int], timeout: float = 30.0) -> None:
    """Wait until none of the processes runs, though they are not this one's children."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            await _until_readable(os.pidfd_open(pid), timeout)


async def _until_readable(fd: int, timeout: float) -> None:
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, readable.set)
    try:
        async with asyncio.timeout(timeout):
            await readable.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)
