"""Threads of an agent's own, for calls on a sync store that must not wait for sync tools."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from redstate.transport.base import forget_at_fork

P = ParamSpec("P")
T = TypeVar("T")

_COUNT = 2


class Threads:
    """A few threads, started when they are first needed.

    The threads of ``asyncio.to_thread`` may all be taken by tools that wait for what a hook's claim would tell.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        forget_at_fork(self)

    async def run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call ``work`` in one of the threads; what it changes is subject to the same as what the caller changes."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_COUNT, thread_name_prefix="redstate-agent")
        call = functools.partial(work, *arguments, **options)
        return await asyncio.wrap_future(self._pool.submit(contextvars.copy_context().run, call))

    def close(self) -> None:
        """Let the threads end when they are through; a later ``run`` starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def forget(self) -> None:
        """Have none, in a forked process: the parent's are not there."""
        self._pool = None
