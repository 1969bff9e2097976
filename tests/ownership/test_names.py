"""An owner whose lease ended goes on under another name, and loses nothing of what was under way meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
import servers
from agent_serving import stores
from conversimple import tool

from redstate import AsyncStore
from redstate.calls import ownership
from redstate.conversimple import StatefulAgent
from redstate.conversimple._ownership import Ownership
from redstate.conversimple._statistics import AgentStatistics
from redstate.conversimple._stores import Stores
from redstate.testing import LocalPlatform

LEASE = 0.5


@asynccontextmanager
async def owner(url: str, prefix: str, **listeners: Any) -> AsyncIterator[Ownership]:
    """What an agent is as an owner, without the agent."""
    async with AsyncStore.from_url(url, key_prefix=prefix, timeout=20.0) as store:
        told: dict[str, Any] = dict.fromkeys(("won", "lost", "expired", "mail"), lambda what: None) | listeners
        one = Ownership(Stores(None, store), "shop", LEASE, **told, statistics=AgentStatistics())
        one.open(takes_over=True)
        await one.join()
        yield one
        await one.leave()


async def until(condition: Any, what: str) -> None:
    await asyncio.to_thread(servers.wait_until, condition, what)


async def silence(url: str, seconds: float) -> None:
    """The server answers nobody for a while."""

    def pause() -> None:
        with redis.Redis.from_url(url) as server:
            server.client_pause(round(seconds * 1000))

    await asyncio.to_thread(pause)


def test_what_was_being_claimed_when_the_lease_ended_is_handed_over_like_all_else(prefix: str) -> None:
    async def scenario(url: str) -> None:
        async with owner(url, prefix) as first, owner(url, prefix) as second:
            held = [f"held-{number}" for number in range(50)]
            await asyncio.gather(*map(first.hold, held))
            former = first.owner
            await silence(url, 2 * LEASE)
            claimed = await asyncio.gather(*[first.hold(f"late-{number}") for number in range(30)])
            await until(lambda: first.owner not in (former, None), "it has another name")
            mine = [
                claim.conversation_id for claim in claimed if claim is not None and first.held(claim.conversation_id)
            ]
            await first.leave()
            await until(lambda: set(mine) <= set(second.all()), "the other one has what was claimed")
            assert set(held) <= set(second.all())

    with servers.server() as running:
        asyncio.run(scenario(running.url))


def test_who_stops_before_it_has_come_back_leaves_everything_to_others(prefix: str) -> None:
    async def scenario(url: str) -> None:
        async with owner(url, prefix) as first:
            held = {f"held-{number}" for number in range(100)}
            await asyncio.gather(*map(first.hold, held))
            former = first.owner
            await silence(url, 2 * LEASE)
            await until(lambda: first.owner != former, "it comes back")
            await first.leave()
            async with owner(url, prefix) as second:
                await until(lambda: set(second.all()) == held, "the other one has all")

    with servers.server() as running:
        asyncio.run(scenario(running.url))


def test_an_owner_that_holds_nothing_leaves_no_trace(owned_url: str, prefix: str, raw: Any) -> None:
    async def scenario() -> None:
        async with owner(owned_url, prefix) as first:
            assert await first.hold("c1")
            await first.release("c1")
        assert raw.keys(f"{prefix}:{{owner*") == []

    asyncio.run(scenario())


class Shop(StatefulAgent):
    agent_id = "shop"
    lease = LEASE

    @tool("loses its connection before it answers")
    def cut_off(self) -> int:
        turns: int = self.conversation().state.increment("turns")
        if turns == 1:
            self.connection.channel_joined = False
        return turns


def test_an_answer_that_could_not_go_is_sent_by_the_next_owner(owned_url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(owned_url, prefix) as opened, LocalPlatform() as platform:
            first, second = [Shop(api_key="key", platform_url=platform.url, **opened) for _ in range(2)]
            await first.start()
            await platform.start_conversation("c1")
            (agent,) = platform.agents
            call = asyncio.create_task(platform.call("c1", "cut_off", call_id="k", agent=agent, timeout=20))
            await until(lambda: first.statistics().calls_answered == 1, "the tool has run")
            assert platform.responses("k") == ()
            await second.start()
            await first.stop()
            assert (await call).result == 1
            await second.stop()
            assert {one.agent for one in platform.responses("k")} == {"agent-2"}

    asyncio.run(scenario())


def test_mail_is_read_by_whom_it_is_for(owned_url: str, prefix: str) -> None:
    async def scenario() -> None:
        told: list[str] = []
        async with owner(owned_url, prefix, mail=lambda claim: told.append(claim.conversation_id)) as first:
            assert await first.hold("c1")
            await first._stores.ask(ownership.notify(prefix, str(first.owner), "c1"))
            await until(lambda: "c1" in told, "it is told")

    asyncio.run(scenario())
