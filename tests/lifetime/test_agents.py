"""Conversations of agents whose stores have an archive: ended by the SDK's event or by silence, they arrive whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import servers
from conversimple import tool_async
from lifetime.lives import Lives

from redstate import AsyncStore, Store
from redstate.archive.sweeper import Sweeper
from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform, PlatformTimeout, ToolCallFailed


class Shop(StatefulAgent):
    @tool_async("counts")
    async def count(self) -> int:
        conversation_id = self.current_conversation_id
        assert conversation_id is not None
        return await self._stores.for_loop().conversation(conversation_id).state.increment("n")


class Cleaning(Shop):
    """Cleans up as the guide says."""

    def on_conversation_ended(self, conversation_id: str) -> Any:
        del self.conversations[conversation_id]
        return super().on_conversation_ended(conversation_id)


@asynccontextmanager
async def served(
    lives: Lives, agent_class: type[Shop], idle: float = 300.0
) -> AsyncIterator[tuple[LocalPlatform, Any]]:
    options: dict[str, Any] = {"key_prefix": lives.prefix, "archive": lives.path, "idle": idle, "tombstone_ttl": 30.0}
    with Store.from_url(lives.url, **options) as store:
        async with AsyncStore.from_url(lives.url, **options) as async_store, LocalPlatform() as platform:
            agent = agent_class(api_key="key", platform_url=platform.url, store=store, async_store=async_store)
            await agent.start()
            try:
                yield platform, agent
            finally:
                await agent.stop()


async def swept_until(agent: Any, condition: Any, what: str) -> None:
    sweeper = Sweeper(agent._stores.for_loop())
    async with asyncio.timeout(20):
        while not condition():
            await sweeper.sweep()
            await asyncio.sleep(0.01)
    assert condition(), what


def test_the_event_of_the_sdk_ends_it_and_the_archive_has_its_state(lives: Lives) -> None:
    async def scenario(agent_class: type[Shop], name: str) -> None:
        async with served(lives, agent_class) as (platform, agent):
            await platform.start_conversation(name)
            for number in (1, 2):
                assert (await platform.call(name, "count")).result == number
            await platform.end_conversation(name)
            await swept_until(agent, lambda: name in {row.conversation_id for row in lives.rows()}, "it is archived")
            assert (await agent._stores.for_loop().archive.get(name)).state == {"n": 2}
            assert agent.load_state(name) == {"n": 2}

    for agent_class, name in ((Shop, "c1"), (Cleaning, "c2")):
        asyncio.run(scenario(agent_class, name))
    assert [(row.reason, row.state) for row in lives.rows()] == [("ended", '{"n":2}')] * 2


def test_who_hangs_up_is_abandoned_and_a_later_call_is_told(lives: Lives) -> None:
    async def scenario() -> None:
        async with served(lives, Shop, idle=0.5) as (platform, agent):
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "count")).result == 1
            await swept_until(agent, lives.rows, "it is archived")
            with pytest.raises(ToolCallFailed, match="has ended"):
                await platform.call("c1", "count")

    asyncio.run(scenario())
    assert [(row.reason, row.state) for row in lives.rows()] == [("abandoned", '{"n":1}')]


def test_an_agent_that_stops_ends_nothing(lives: Lives) -> None:
    async def scenario() -> None:
        async with served(lives, Shop) as (platform, _):
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "count")).result == 1
        async with served(lives, Shop) as (platform, _):
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "count")).result == 2

    asyncio.run(scenario())
    assert lives.sweep().archived == 0
    assert list(lives.index()) == ["c1"]


def test_one_that_starts_again_under_an_archived_id_stays_ended_until_it_is_resumed(lives: Lives) -> None:
    async def scenario() -> None:
        async with served(lives, Shop) as (platform, agent):
            await platform.start_conversation("c1")
            await platform.call("c1", "count")
            await platform.end_conversation("c1")
            await swept_until(agent, lives.rows, "it is archived")
        async with served(lives, Shop) as (platform, agent):
            with pytest.raises(PlatformTimeout):
                await platform.start_conversation("c1", timeout=0.5)
            assert await agent._stores.for_loop().conversation("c1").resume()
        async with served(lives, Shop) as (platform, agent):
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "count")).result == 2

    asyncio.run(scenario())
    servers.wait_until(lambda: list(lives.index()) == ["c1"], "it goes on")
