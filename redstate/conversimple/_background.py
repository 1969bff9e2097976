"""Work that nobody waits for, until the agent stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from redstate.conversimple._binding import bound

logger = logging.getLogger("redstate.conversimple")


class Background:
    """Tasks of one agent. They run outside of every tool call and hook, and what fails in one is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` in a task."""
        with bound(None):
            task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    async def end(self) -> None:
        """Cancel what still runs, except the caller, and wait for it."""
        others = self._tasks - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("serving a conversation failed", exc_info=error)
