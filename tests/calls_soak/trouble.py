"""What is done to the workers: killed, and stopped for longer than their lease."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from calls_soak.plan import LEASE, Plan
from calls_soak.world import World

_LEFT_TO_SERVE = 2  # workers at least that are ready and go on


class Trouble:
    """Makes trouble for the workers.

    Attributes:
        kills, stops: how many there were.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self.kills = 0
        self.stops = 0
        self._world = world
        self._plan = plan
        self._chance = random.Random(f"{plan.seed} trouble")
        self._stopped: set[int] = set()

    @asynccontextmanager
    async def made(self) -> AsyncIterator[None]:
        """Trouble inside the block."""
        plan = self._plan
        if plan.lost_replies:
            self._world.proxy.swallow_fraction(plan.lost_replies, seed=plan.seed, command="EVALSHA")
        tasks = [asyncio.create_task(self._kill()), asyncio.create_task(self._stop())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            self._world.proxy.heal()
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _kill(self) -> None:
        while self._plan.kills_apart is not None:
            await asyncio.sleep(self._chance.uniform(*self._plan.kills_apart))
            if (pid := self._victim()) is not None:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1

    async def _stop(self) -> None:
        while self._plan.stops_apart is not None:
            await asyncio.sleep(self._chance.uniform(*self._plan.stops_apart))
            pid = self._victim()
            if pid is None:
                continue
            os.kill(pid, signal.SIGSTOP)
            self._stopped.add(pid)
            try:
                await asyncio.sleep(LEASE + self._chance.uniform(0.3, 1.5))
                self.stops += 1
            finally:
                self._stopped.discard(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _victim(self) -> int | None:
        """A worker that serves; None while too few of them do."""
        ready = [one.pid for one in self._world.supervisor.workers if one.ready and one.pid not in self._stopped]
        return self._chance.choice(ready) if len(ready) > _LEFT_TO_SERVE else None
