"""Which conversations an agent serves of those that it is told of, on a real platform, with agents in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import servers
from agent_serving import stores
from conversimple import tool, tool_async

from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform, ToolCallFailed


class Shop(StatefulAgent):
    agent_id = "shop"

    @tool("who serves")
    def who(self) -> str:
        return f"shop {self.current_conversation_id}"

    @tool_async("writes in a task that outlives the call")
    async def later(self, signals: Any = None) -> str:
        self.go, self.done = asyncio.Event(), asyncio.Event()

        async def write() -> None:
            await self.go.wait()
            await self.async_conversation().state.set("later", self.fencing_token)
            self.done.set()

        self.task = asyncio.create_task(write())
        return "soon"


class Desk(StatefulAgent):
    agent_id = "desk"

    @tool("who serves")
    def who(self) -> str:
        return f"desk {self.current_conversation_id}"


@asynccontextmanager
async def agents(
    url: str, prefix: str, *classes: type[StatefulAgent]
) -> AsyncIterator[tuple[LocalPlatform, list[Any]]]:
    """A platform, and agents that are made and neither started nor, in the end, left running."""
    async with stores(url, prefix) as opened, LocalPlatform() as platform:
        made = [one(api_key="key", platform_url=platform.url, **opened) for one in classes]
        try:
            yield platform, made
        finally:
            for agent in made:
                await agent.stop()


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(servers.wait_until, condition, what)


def test_an_agent_serves_what_the_platform_names_its_kind_for(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Desk, Shop) as (platform, (desk, shop)):
            await desk.start()
            await shop.start()
            for number in range(10):
                for kind in ("shop", "desk"):
                    await platform.start_conversation(f"{kind}-{number}", agent_id=kind)
                    answer = await platform.call(f"{kind}-{number}", "who")
                    assert answer.result == f"{kind} {kind}-{number}"
            assert (desk.statistics().conversations, shop.statistics().conversations) == (10, 10)

    asyncio.run(scenario())


def test_an_agent_for_one_conversation_serves_no_other(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop, Shop) as (platform, (first, second)):
            await first.start("c1")
            # The first one is told of this as well, and before the second is there.
            await platform.start_conversation("c2", registrations=0)
            await second.start("c2")
            for conversation_id in ("c1", "c2"):
                assert (await platform.call(conversation_id, "who")).result == f"shop {conversation_id}"
            assert [one.statistics().conversations for one in (first, second)] == [1, 1]

    asyncio.run(scenario())


def test_a_call_of_a_conversation_that_has_ended_is_told_so(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop, Shop) as (platform, (first, second)):
            await first.start()
            await second.start()
            await platform.start_conversation("c1")
            answered = await platform.call("c1", "who", call_id="k")
            await platform.end_conversation("c1", to=[answered.agent])
            owner, other = (first, second) if answered.agent == platform.agents[0].id else (second, first)
            await until(lambda: not owner.statistics().conversations, "its owner has let go of it")
            with pytest.raises(ToolCallFailed, match="The conversation has ended"):
                await platform.call("c1", "who", agent=platform.agents[0])
            # What was answered before is still answered, by whoever is asked.
            for agent in platform.agents:
                await platform.redeliver("k", agent=agent)
            assert {one.error for one in await platform.wait_for_responses("k", 3)} == {None}
            assert other.statistics().conversations == 0

    asyncio.run(scenario())


def test_what_a_tool_left_running_writes_on_as_the_owner(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop) as (platform, (shop,)):
            await shop.start()
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "later")).result == "soon"
            shop.go.set()
            await shop.done.wait()
            assert await shop.async_conversation("c1").state.get("later", fresh=True) > 0

    asyncio.run(scenario())


def test_conversations_are_shared_among_the_agents_that_are_there(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop, Shop, Shop) as (platform, shops):
            for shop in shops:
                await shop.start()
            # Each has heard of the others by its next renewal.
            await until(lambda: all(len(shop._ownership._peers) == 3 for shop in shops), "all know each other")
            await asyncio.gather(*[platform.start_conversation(f"c{number}") for number in range(90)])
            shares = [shop.statistics().conversations for shop in shops]
            assert sum(shares) == 90
            assert min(shares) >= 15

    asyncio.run(scenario())


def test_statistics_count_what_was_done(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop) as (platform, (shop,)):
            await shop.start()
            await platform.start_conversation("c1")
            await platform.call("c1", "who", call_id="k")
            await platform.redeliver("k")
            await platform.wait_for_responses("k", 2)
            with pytest.raises(ToolCallFailed):
                await platform.call("c1", "who", {"no": "such"})
            seen = shop.statistics()
            assert (seen.conversations, seen.claims, seen.take_overs, seen.fenced) == (1, 1, 0, 0)
            assert (seen.calls_answered, seen.calls_failed, seen.calls_repeated, seen.calls_running) == (1, 1, 1, 0)

    asyncio.run(scenario())
