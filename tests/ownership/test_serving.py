"""Which conversations an agent serves of those that it is told of, on a real platform, with agents in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import servers
from agent_serving import stores
from conversimple import tool, tool_async

from redstate._keys import owners_key
from redstate.conversimple import StatefulAgent
from redstate.errors import RedstateError
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
            await until(lambda: all(len(shop._ownership.names.peers) == 3 for shop in shops), "all know each other")
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
            await until(lambda: not shop.statistics().calls_running, "the last call is over")
            seen = shop.statistics()
            assert (seen.conversations, seen.claims, seen.take_overs, seen.fenced) == (1, 1, 0, 0)
            assert (seen.calls_answered, seen.calls_failed, seen.calls_repeated, seen.calls_running) == (1, 1, 1, 0)

    asyncio.run(scenario())


class Slow(Shop):
    """Its calls wait until the test lets them go on."""

    lease = 1.0
    gate: asyncio.Event
    entered: asyncio.Event

    @tool_async("waits")
    async def wait(self) -> str:
        type(self).entered.set()
        await type(self).gate.wait()
        return "waited"

    @tool_async("counts")
    async def count(self) -> int:
        return await self.async_conversation().state.increment("n")


def test_a_drain_hands_over_at_once_what_is_idle_and_finishes_what_runs(url: str, prefix: str) -> None:
    async def scenario() -> None:
        Slow.gate, Slow.entered = asyncio.Event(), asyncio.Event()
        async with agents(url, prefix, Slow, Slow) as (platform, shops):
            await shops[0].start()
            for number in range(3):
                await platform.start_conversation(f"c{number}")
            await shops[1].start()
            waiting = asyncio.create_task(platform.call("c0", "wait", call_id="waits"))
            await Slow.entered.wait()
            draining = asyncio.create_task(shops[0].drain(30))
            await until(lambda: len(shops[1]._ownership.all()) == 2, "the others are taken over")
            # Whoever is asked, the call gets there: the one that drains passes it on.
            for agent in platform.agents * 2:
                await platform.call("c1", "count", agent=agent, timeout=10)
            assert not waiting.done()
            Slow.gate.set()
            assert (await waiting).result == "waited"
            await draining
            assert len(platform.responses("waits")) == 1
            assert (await platform.call("c0", "count", timeout=10)).result == 1
            assert await shops[1].async_conversation("c1").state.get("n", fresh=True) == 4
            assert shops[0].statistics().fenced == 0

    asyncio.run(scenario())


def test_who_lost_one_conversation_of_several_passes_its_calls_on(url: str, prefix: str) -> None:
    async def scenario() -> None:
        Slow.gate, Slow.entered = asyncio.Event(), asyncio.Event()
        async with agents(url, prefix, Slow, Slow) as (platform, (first, second)):
            await first.start()
            for conversation_id in ("c1", "c2"):
                await platform.start_conversation(conversation_id)
            await second.start()
            await until(lambda: second._ownership.owner is not None, "the second is an owner")
            # As if the first had stood still: its claim on one of them is taken from it.
            former = first._ownership.owner
            answer = await second._ownership._claimant.ask("c1", former)
            second._ownership.settle("c1", answer)
            for number in range(1, 5):
                asked = platform.agents[number % 2]
                assert (await platform.call("c1", "count", agent=asked, timeout=10)).result == number
            assert (await platform.call("c2", "count")).result == 1
            assert [first._ownership.all(), second._ownership.all()] == [["c2"], ["c1"]]

    asyncio.run(scenario())


def test_a_record_that_expired_is_let_go_of_and_not_begun_anew_by_the_next(url: str, prefix: str) -> None:
    async def scenario() -> None:
        Slow.gate, Slow.entered = asyncio.Event(), asyncio.Event()
        async with agents(url, prefix, Slow, Slow) as (platform, (first, second)):
            await first.start()
            for conversation_id in ("c1", "c2"):
                await platform.start_conversation(conversation_id)
            with redis.Redis.from_url(url) as server:
                server.delete(first.conversation("c1").key)
            await until(lambda: first._ownership.all() == ["c2"], "it is let go of")
            await second.start()
            await first.stop()
            await until(lambda: second._ownership.all() == ["c2"], "the other one is taken over")

    asyncio.run(scenario())


def test_an_agent_that_finds_the_server_empty_owns_its_conversations_again(url: str, prefix: str) -> None:
    async def scenario() -> None:
        Slow.gate, Slow.entered = asyncio.Event(), asyncio.Event()
        async with agents(url, prefix, Slow) as (platform, (shop,)):
            await shop.start()
            await platform.start_conversation("c1")
            await platform.call("c1", "count")
            with redis.Redis.from_url(url) as server:
                for key in server.scan_iter(f"{prefix}:*"):
                    server.delete(key)
            # (It may let go of what has no record first; the platform's next call finds an owner in any case.)
            assert (await platform.call("c1", "count", timeout=10)).result == 1
            await until(lambda: shop._ownership.all() == ["c1"], "it owns it")

    asyncio.run(scenario())


def test_a_stopped_agent_leaves_no_lease_behind(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop) as (_, (shop,)):
            for _ in range(5):
                await shop.start()
                await shop.stop()
            with redis.Redis.from_url(url) as server:
                assert server.zcard(owners_key(prefix)) == 0
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert "redstate-leases" not in names

    asyncio.run(scenario())


def test_a_timed_out_tool_writes_no_cached_value_either(url: str, prefix: str) -> None:
    class Late(Shop):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.errors: list[str] = []
            self.gate = threading.Event()

        @tool("writes late")
        def late(self) -> None:
            self.gate.wait(30)
            writes = [
                lambda: self.set_cached("k", 1),
                lambda: self.conversation().touch(),
                lambda: self.conversation().state.set("a", 1, op_id="mine"),
                lambda: self.get_store().customer("ada").update(a=1),
            ]
            for write in writes:
                try:
                    write()
                except RedstateError as error:
                    self.errors.append(type(error).__name__)

    async def scenario() -> None:
        async with agents(url, prefix, Late) as (platform, (shop,)):
            await shop.start()
            await platform.start_conversation("c1")
            with pytest.raises(ToolCallFailed, match="timed out"):
                await platform.call("c1", "late", tool_timeout=0.2)
            shop.gate.set()
            await until(lambda: len(shop.errors) == 4, "all are refused")
            assert set(shop.errors) == {"DeadlineExceeded"}

    asyncio.run(scenario())


def test_serving_inside_a_tool_and_callbacks_after_it_keep_the_owners_token(url: str, prefix: str) -> None:
    seen: list[int | None] = []

    class Nested(Shop):
        @tool("looks")
        def look(self) -> None:
            with self.serving("c1"):
                seen.append(self.fencing_token)
            seen.append(self.fencing_token)

    async def scenario() -> None:
        async with agents(url, prefix, Nested) as (platform, (shop,)):
            shop.on_tool_completed(lambda call_id, result: seen.append(shop.fencing_token))
            await shop.start()
            await platform.start_conversation("c1")
            await platform.call("c1", "look")
            await until(lambda: len(seen) == 3, "the callback has run")
            assert len(set(seen)) == 1
            assert seen[0]

    asyncio.run(scenario())


def test_what_is_taken_over_without_a_connection_is_registered_when_there_is_one_again(
    url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with agents(url, prefix, Shop, Shop) as (platform, (first, second)):
            await first.start()
            await platform.start_conversation("c1")
            await second.start()
            await until(lambda: second._ownership.owner is not None, "the second is an owner")
            await second.connection.disconnect()
            await first.stop()
            await until(lambda: second._ownership.all() == ["c1"], "it is taken over")
            await until(lambda: "c1" in second.registered_conversations, "its tools are to be registered")
            await second.connection.connect()
            assert (await platform.call("c1", "who", timeout=10)).result == "shop c1"

    asyncio.run(scenario())
    assert "Cannot send message" not in caplog.text


def test_a_conversation_that_ended_before_its_beginning_was_seen_to_offers_no_tools(
    url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # How long a conversation is left to whom it falls to: long enough for the word of its end to come first.
    monkeypatch.setattr("redstate.conversimple._ownership.YIELD", 1.0)
    ending = asyncio.Event()

    class Slow(Shop):
        async def on_conversation_ended(self, conversation_id: str) -> None:
            await ending.wait()

    async def scenario() -> None:
        async with agents(url, prefix, Slow, Slow) as (platform, (first, second)):
            await first.start()
            await second.start()
            names = first._ownership.names
            await until(lambda: len(names.peers) == 2, "it knows of the other one")
            name = next(one for one in map(str, range(100)) if not names.falls_here(one))
            (agent, _) = platform.agents
            await platform.start_conversation(name, to=[agent], registrations=0)
            await platform.end_conversation(name, to=[agent])
            await until(lambda: first._lifecycle.is_ending(name), "its end is under way")
            stopping = asyncio.create_task(first.stop())
            await until(lambda: not first.connection.connected, "there is no connection any more")
            # All but the hook: what has been told waits no more.
            await until(lambda: not first._serving.background._tasks, "its beginning has been seen to")
            assert name not in agent.tools
            ending.set()
            await stopping

    asyncio.run(scenario())
    assert "Cannot send message" not in caplog.text
