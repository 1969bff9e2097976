"""Serves real SDK agents from a platform of the test's own, with their state under the test's own key prefix."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from redstate import AsyncStore, Store
from redstate._call import Query
from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform

WORKER = Path(__file__).with_name("agent_worker.py")

Serving = Callable[[type[StatefulAgent]], AbstractAsyncContextManager[tuple[LocalPlatform, Any]]]


@asynccontextmanager
async def stores(url: str, prefix: str, timeout: float = 5.0) -> AsyncIterator[dict[str, Any]]:
    """What an agent takes as ``store`` and ``async_store``."""
    with Store.from_url(url, key_prefix=prefix, timeout=timeout) as store:
        async with AsyncStore.from_url(url, key_prefix=prefix, timeout=timeout) as async_store:
            yield {"store": store, "async_store": async_store}


def serving_on(url: str, prefix: str) -> Serving:
    """Returns a context manager factory: of an agent class it makes a platform and a started agent."""

    @asynccontextmanager
    async def serving(agent_class: type[StatefulAgent]) -> AsyncIterator[tuple[LocalPlatform, Any]]:
        async with stores(url, prefix) as opened, LocalPlatform() as platform:
            agent = agent_class(api_key="key", platform_url=platform.url, **opened)
            await agent.start()
            try:
                yield platform, agent
            finally:
                await agent.stop()

    return serving


@asynccontextmanager
async def processes(
    platform: LocalPlatform, target: str, count: int, url: str, prefix: str, **environment: str
) -> AsyncIterator[list[Process]]:
    """Serve ``target`` ("module:Class") from processes; at the end those that live stop, and must do so in order."""
    environment = {**os.environ, "REDSTATE_URL": url, "REDSTATE_KEY_PREFIX": prefix, **environment}
    there = len(platform.agents)
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), target, platform.url, env=environment, stdin=asyncio.subprocess.PIPE
        )
        for _ in range(count)
    ]
    try:
        await platform.wait_for_agents(there + count, timeout=30)
        yield started
        alive = [process for process in started if process.returncode is None]
        for process in alive:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(30):
            assert [await process.wait() for process in alive] == [0] * len(alive)
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def field_of(store: Store, field: str) -> bytes:
    """A field of the record of "c1" as it lies there."""
    record = store.conversation("c1")._record
    return await asyncio.to_thread(record.ask, Query(record.key, ("HGET", record.key, field), lambda reply: reply))


async def set_field(store: Store, field: str, value: str) -> None:
    """Put bytes into the record of "c1" past the store."""
    record = store.conversation("c1")._record
    await asyncio.to_thread(record.ask, Query(record.key, ("HSET", record.key, field, value), lambda reply: reply))
