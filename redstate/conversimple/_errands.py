"""What an agent does beside its serving: for owners that are gone, and for what it owns itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redstate.conversimple._names import Stopped
from redstate.errors import RedstateError

logger = logging.getLogger("redstate.conversimple")


class Errands:
    """The errands of one agent: one at a time for each owner.

    Args:
        lease: seconds; an errand that left something to do, or failed, makes room for the next after half of that.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def under_way(self, owner: str) -> bool:
        """Whether there is one for that owner."""
        return owner in self._tasks

    def start(self, owner: str, work: Callable[[str], Awaitable[bool]]) -> None:
        """Do ``work(owner)``, which returns whether nothing is left; else it is under way for a while yet."""

        async def run() -> None:
            done = False
            try:
                done = await work(owner)
            except* RedstateError as failures:
                logger.warning("what an owner left could not be taken over yet: %s", failures.exceptions[0])
            except* Stopped:
                done = True
            if not done:
                # What is left is for agents of another kind, which may come yet; or the store failed.
                await asyncio.sleep(self._lease / 2)

        task = asyncio.create_task(run())
        self._tasks[owner] = task
        task.add_done_callback(lambda _: self._tasks.pop(owner, None))

    def cancel(self) -> None:
        """Do nothing more."""
        for task in self._tasks.values():
            task.cancel()
