"""Conversations of agents whose stores have an archive: ended by the SDK's event or by silence, they arrive whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import servers
from conversimple import tool_async
from lifetime.lives import Lives

from redstate import AsyncStore, EndedConversation, Store, _keys, _scripts
from redstate.archive.sweeper import Sweeper
from redstate.calls.moments import EPOCH
from redstate.conversimple import StatefulAgent
from redstate.errors import RedstateError
from redstate.testing import LocalPlatform, PlatformTimeout, ToolCallFailed
from redstate.testing.proxy import FaultProxy


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


class Forgetting(Shop):
    """Takes the customer's id out of the state when a conversation ends."""

    async def on_conversation_ended(self, conversation_id: str) -> None:
        await self.async_conversation().state.delete("customer_id")


class Mistaking(Shop):
    async def on_conversation_ended(self, conversation_id: str) -> None:
        await self.async_conversation().state.set("customer_id", "bob")


class Noting(Shop):
    """Notes which of its conversations have ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.noted: list[str] = []

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.noted.append(conversation_id)


class ForgettingAndCleaning(Shop):
    def on_conversation_ended(self, conversation_id: str) -> None:
        del self.conversations[conversation_id]["customer_id"]
        del self.conversations[conversation_id]


@asynccontextmanager
async def served(
    lives: Lives, agent_class: type[Shop], idle: float = 300.0, archive: bool = True, **more: Any
) -> AsyncIterator[tuple[LocalPlatform, Any]]:
    options: dict[str, Any] = {"key_prefix": lives.prefix, "idle": idle, "tombstone_ttl": 30.0, **more}
    options["archive"] = lives.path if archive else None
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


@pytest.mark.parametrize("agent_class", [Forgetting, Mistaking, ForgettingAndCleaning])
def test_the_archive_knows_whose_it_was_whatever_the_hook_did_with_that(lives: Lives, agent_class: type[Shop]) -> None:
    async def scenario() -> None:
        async with served(lives, agent_class) as (platform, agent):
            await platform.start_conversation("c1")
            await platform.call("c1", "count")
            store = agent._stores.for_loop()
            await store.conversation("c1").state.set("customer_id", "ada")
            await platform.end_conversation("c1")
            await swept_until(agent, lives.rows, "it is archived")
            assert (await store.customer("ada").all())["last_conversation"] == "c1"
            assert await store.customer("bob").all() == {}

    asyncio.run(scenario())
    assert [row.customer_id for row in lives.rows()] == ["ada"]


def test_a_conversation_is_merged_into_one_customer_whatever_the_hook_made_of_it(lives: Lives) -> None:
    async def scenario() -> None:
        async with served(lives, Mistaking, archive=False) as (platform, agent):
            await platform.start_conversation("c1")
            store = agent._stores.for_loop()
            conversation = store.conversation("c1")
            await conversation.state.set("customer_id", "ada")
            await platform.end_conversation("c1")
            await asyncio.to_thread(servers.wait_until, lambda: not agent._ownership.all(), "it is let go of")
            assert await conversation.ended()
            assert (await store.customer("ada").all())["last_conversation"] == "c1"
            assert await store.customer("bob").all() == {}

    asyncio.run(scenario())


def test_what_is_taken_out_is_the_state_at_the_end_although_others_wrote_meanwhile(lives: Lives, server: Any) -> None:
    read = _scripts.load("record_read").evalsha[1]

    def reads_all(name: bytes, arguments: list[bytes]) -> bool:
        return name == b"HGETALL" or arguments[:1] == [read]

    options: dict[str, Any] = {"key_prefix": lives.prefix, "archive": lives.path}
    with (
        FaultProxy(server.tcp_url) as proxy,
        Store.from_url(proxy.url, timeout=20.0, **options) as store,
        Store.from_url(lives.url, **options) as other,
    ):
        other.conversation("c1").state.set("n", 1)
        taken: list[Any] = []
        agent = Shop(api_key="key", store=store)
        taking = threading.Thread(target=lambda: taken.append(agent.conversations.pop("c1")))
        with proxy.hold_replies(matching=reads_all):
            taking.start()
            proxy.wait_for(held=1)
            other.conversation("c1").state.set("n", 2)
        taking.join(20)
        assert taken == [{"n": 2}]
        with pytest.raises(KeyError):
            agent.conversations.pop("c1")
    assert lives.sweep().archived == 1
    assert [row.state for row in lives.rows()] == ['{"n":2}']


def test_a_hook_may_outlast_its_conversation(lives: Lives) -> None:
    told: list[Any] = []

    class Slow(Shop):
        async def on_conversation_ended(self, conversation_id: str) -> None:
            # As the sweeper does, and time after it.
            lives.raw.delete(_keys.conversation_key(lives.prefix, conversation_id))

    async def scenario() -> None:
        async with served(lives, Slow) as (platform, agent):
            agent.on_error(lambda *error: told.append(error))
            await platform.start_conversation("c1")
            await platform.call("c1", "count")
            await platform.end_conversation("c1")
            await asyncio.to_thread(servers.wait_until, lambda: not agent._ownership.all(), "it is let go of")

    asyncio.run(scenario())
    assert told == []


def test_what_could_not_be_begun_is_noted_as_nobodys(lives: Lives) -> None:
    async def scenario() -> None:
        async with served(lives, Shop) as (platform, agent):
            store, conversation_id = agent._stores.for_loop(), "c1"
            await agent._ownership.names.joined()
            part = _keys.due_key(lives.prefix, conversation_id)
            lives.raw.set(part, "no index")
            with pytest.raises(RedstateError):
                await agent._ownership.hold(conversation_id)
            assert lives.raw.hgetall(_keys.holdings_key(lives.prefix, agent._ownership.owner)) == {}
            lives.raw.delete(part)
            await platform.start_conversation(conversation_id)
            noted = lives.raw.hkeys(_keys.holdings_key(lives.prefix, agent._ownership.owner))
            assert (noted, await store.conversation(conversation_id).ended()) == ([b"c1"], False)

    asyncio.run(scenario())


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "no-archive"])
def test_a_merge_function_that_raises_holds_up_no_end(lives: Lives, archive: bool) -> None:
    def broken(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError

    async def scenario() -> None:
        async with served(lives, Noting, archive=archive, merge=broken) as (platform, agent):
            await platform.start_conversation("c1")
            store = agent._stores.for_loop()
            await store.conversation("c1").state.set("customer_id", "ada")
            await platform.end_conversation("c1")
            await asyncio.to_thread(servers.wait_until, lambda: b"x" in lives.record("c1"), "it has ended")
            assert await store.customer("ada").get("last_conversation", fresh=True) == "c1"
            assert agent.noted == ["c1"]

    asyncio.run(scenario())


def test_a_merge_function_is_told_when_and_why_an_agents_conversation_ends(lives: Lives) -> None:
    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        assert ended.ended_at is not None
        return {"at": ended.ended_at.isoformat(), "why": ended.reason, "times": profile.get("times", 0) + 1}

    async def scenario() -> dict[str, Any]:
        async with served(lives, Noting, merge=merge) as (platform, agent):
            await platform.start_conversation("c1")
            store = agent._stores.for_loop()
            await store.conversation("c1").state.set("customer_id", "ada")
            await platform.end_conversation("c1")
            await swept_until(agent, lives.rows, "it is archived")
            return await store.customer("ada").all(fresh=True)

    profile = asyncio.run(scenario())
    assert (profile["why"], profile["times"]) == ("ended", 1)
    assert datetime.fromisoformat(profile["at"]) <= lives.rows()[0].ended_us / 1e6 * timedelta(seconds=1) + EPOCH
