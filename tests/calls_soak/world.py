"""Four workers that a supervisor runs, a platform, a server, and a proxy between workers and server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls_soak.plan import WORKERS
from servers import RunningServer

from redstate.conversimple.runner import Backoff, RunnerSettings, Supervisor, WorkerEvent
from redstate.testing import LocalPlatform
from redstate.testing.proxy import FaultProxy

PREFIX = "soak"
_SERVED = Path(__file__).with_name("served")


@dataclass
class World:
    """What runs.

    Attributes:
        events: what the workers reported, by kind of event.
        changed: is set at each event.
        log: the file that has the workers' log.
    """

    server: RunningServer
    proxy: FaultProxy
    platform: LocalPlatform
    supervisor: Supervisor
    events: Counter[str]
    changed: asyncio.Event
    log: Path

    def logged(self, text: str) -> list[str]:
        """The lines of the workers' logs that have the text."""
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if text in line]

    def notes(self, name: str) -> Any:
        """What the agents have noted on the server; see ``served/till.py``."""
        key = f"{PREFIX}:{name}"
        if name == "runs":
            return {mark.decode(): int(runs) for mark, runs in self.server.command("HGETALL", key).items()}
        return [note.decode().split() for note in self.server.command("LRANGE", key, 0, -1)]

    async def all_ready(self, timeout: float = 60.0) -> None:
        """Wait until as many workers are ready as there are to be."""
        async with asyncio.timeout(timeout):
            while self.supervisor.ready < WORKERS or len(self.supervisor.workers) != WORKERS:
                await self.changed.wait()
                self.changed.clear()
            await self.platform.wait_for_agents(WORKERS, timeout)


@asynccontextmanager
async def running(server: RunningServer, folder: Path, *, proxied: bool = True) -> AsyncIterator[World]:
    """Everything but the server, ready. At the end of the block the workers drain: nothing is under way after it.

    Args:
        server: the server.
        folder: for the workers' log.
        proxied: whether the proxy is between. What a worker has sent before its death can reach the server later then.
    """
    events: Counter[str] = Counter()
    changed = asyncio.Event()

    def observe(event: WorkerEvent) -> None:
        events[str(event.data["event"]) if event.kind == "event" else event.kind] += 1
        changed.set()

    log = folder / "workers.log"
    with FaultProxy(server.url) as proxy, log.open("ab") as output:
        async with LocalPlatform() as platform:
            settings = RunnerSettings(
                api_key="key-0123456789",
                path=_SERVED,
                workers=WORKERS,
                url=proxy.url if proxied else server.url,
                platform_url=platform.url,
                # A stop of several seconds must not end the changes that were on their way.
                environment={"REDSTATE_KEY_PREFIX": PREFIX, "SOAK_SERVER": server.url, "REDSTATE_TIMEOUT": "20"},
                output=output.fileno(),
            )
            # Workers are killed all the time here, and shall be there again soon.
            async with Supervisor(settings, observe, backoff=lambda: Backoff(highest=0.2)) as supervisor:
                await platform.wait_for_agents(WORKERS, 60)
                yield World(server, proxy, platform, supervisor, events, changed, log)
                proxy.heal()
