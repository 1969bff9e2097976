"""What the processes have in common that another process starts, watches and ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

# Exit statuses of a process that could not start, after sysexits.h.
UNAVAILABLE = 69  # what it serves could not be reached
CRASHED = 70
CONFIGURATION = 78  # a setting that cannot work; trying again does not help

# Writes of that size to a pipe are whole or not at all, whichever thread makes them.
LONGEST_REPORT = select.PIPE_BUF
LONGEST_MESSAGE = 500


class Reports:
    """The way to the parent: one JSON line a time, through a pipe of its own.

    A report that does not fit, as the parent does not read, is dropped: nothing waits.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        # What a tool starts must not hold the pipe open.
        os.set_inheritable(fd, False)
        self._fd = fd

    def send(self, kind: str, **fields: Any) -> None:
        """Tell the parent; ``fields`` are plain JSON."""
        line = json.dumps({"type": kind, **fields}).encode() + b"\n"
        if len(line) <= LONGEST_REPORT:
            # BlockingIOError: the pipe is full; BrokenPipeError: the parent is gone.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._fd, line)

    def failed(self, message: str, next_step: str, status: int) -> int:
        """Tell that the process cannot start; returns the exit status."""
        self.send("failed", message=message[: LONGEST_MESSAGE * 2], next_step=next_step, status=status)
        return status


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop, where it is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def stop_with_parent(stop: Callable[[], object], at_last: float) -> None:
    """Have the running event loop call ``stop`` when stdin ends.

    Within ``at_last`` seconds from then the process group ends, even if the event loop is stuck.
    """
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(stop)
        timer = threading.Timer(at_last, _end)
        timer.daemon = True
        timer.start()

    threading.Thread(target=watch, name="end-of-stdin", daemon=True).start()


def _end() -> None:
    os.killpg(0, signal.SIGKILL)
