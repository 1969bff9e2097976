"""Who runs a hook: leases, agents that stop meanwhile, a store that fails."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from agent_serving import Serving, serving_on, stores
from conversimple import tool_async

from redstate import Store
from redstate._call import Query
from redstate.conversimple import StatefulAgent, _lifecycle
from redstate.conversimple._claims import HookClaims
from redstate.conversimple._stores import Stores
from redstate.errors import ServerUnavailable
from redstate.testing import LocalPlatform
from redstate.testing.proxy import FaultProxy


@pytest.fixture
def serving(url: str, prefix: str) -> Serving:
    return serving_on(url, prefix)


class Gated(StatefulAgent):
    """Its started hook waits at a gate that all agents of the class share; tests can wait for what happened."""

    agent_id = "gated"
    hook_lease = 0.9

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[str] = []
        self.errors: list[Any] = []
        self._changed = asyncio.Condition()
        self.on_error(self._note_error)

    async def note(self, event: str) -> None:
        self.events.append(event)
        async with self._changed:
            self._changed.notify_all()

    async def _note_error(self, kind: str, message: str, details: dict[str, Any]) -> None:
        self.errors.append(details["exception"])
        await self.note(f"error in {details['callback']}")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(condition)

    async def on_conversation_started(self, conversation_id: str) -> None:
        await self.note("starting")
        await self.gate.wait()
        await self.aupdate_state(conversation_id, step="greeting")
        await self.note("started")

    async def on_conversation_resumed(self, conversation_id: str) -> None:
        await self.note("resumed")

    async def on_conversation_ended(self, conversation_id: str) -> None:
        await self.note("ended")

    @tool_async("reads the state")
    async def read(self) -> dict:
        return await self.aget_state()


async def serve(stack: AsyncExitStack, platform: LocalPlatform, gate: asyncio.Event, opened: dict[str, Any]) -> Gated:
    agent = Gated(api_key="key", platform_url=platform.url, **opened)
    agent.gate = gate
    await agent.start()
    stack.push_async_callback(agent.stop)
    return agent


async def field_of(store: Store, field: str) -> bytes:
    """A field of the record of "c1" as it lies there."""
    record = store.conversation("c1")._record
    return await asyncio.to_thread(record.ask, Query(record.key, ("HGET", record.key, field), lambda reply: reply))


def test_a_hook_that_takes_longer_than_its_lease_keeps_it(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            agents = [await serve(stack, platform, gate, opened) for _ in range(2)]
            stack.callback(gate.set)
            await platform.start_conversation("c1")
            ends = set()
            async with asyncio.timeout(20):
                while len(ends) < 5:  # four times a third of it
                    ends.add(await field_of(opened["store"], "hgated:on_conversation_started"))
            assert not opened["store"].conversation("c1").exists()
            gate.set()
            assert (await platform.call("c1", "read")).result == {"step": "greeting"}
            assert (await platform.call("c1", "read", agent="agent-2")).result == {"step": "greeting"}
            assert sorted(agent.events for agent in agents) == [["resumed"], ["starting", "started"]]

    asyncio.run(scenario())


def test_stopping_waits_for_no_hook_of_another_process_and_a_later_start_does(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            first = await serve(stack, platform, gate, opened)
            second = await serve(stack, platform, gate, opened)
            stack.callback(gate.set)
            await platform.start_conversation("c1", to=["agent-1"])
            await first.until(lambda: first.events == ["starting"])
            await platform.start_conversation("c1", to=["agent-2"])
            async with asyncio.timeout(10):
                await second.stop()
            assert first.events == ["starting"]
            assert second.events == []
            await second.start()
            early = asyncio.create_task(platform.call("c1", "read", agent="agent-3"))
            gate.set()
            assert (await early).result == {"step": "greeting"}
            assert second.events == ["resumed"]

    asyncio.run(scenario())


def test_a_store_that_is_down_when_a_conversation_starts_is_reported_and_the_hook_runs_when_it_is_back(
    server: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            proxy = stack.enter_context(FaultProxy(server.url))
            opened = await stack.enter_async_context(stores(proxy.url, prefix, timeout=0.5))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            gate.set()
            agent = await serve(stack, platform, gate, opened)
            proxy.refuse()
            await platform.start_conversation("c1", ready=False)
            await agent.until(lambda: bool(agent.errors))
            assert isinstance(agent.errors[0], ServerUnavailable)
            assert agent.events == ["error in on_conversation_started"]
            proxy.heal()
            assert (await platform.call("c1", "read")).result == {"step": "greeting"}
            assert agent.events[1:] == ["starting", "started"]

    asyncio.run(scenario())
    (logged,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.exc_info is not None
    assert "on_conversation_started failed in conversation 'c1'" in caplog.text


def test_a_store_that_is_down_when_a_conversation_ends_is_asked_again(
    server: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lifecycle, "_FIRST_RETRY", 0.01)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            proxy = stack.enter_context(FaultProxy(server.url))
            opened = await stack.enter_async_context(stores(proxy.url, prefix, timeout=0.5))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            gate.set()
            agent = await serve(stack, platform, gate, opened)
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "read")).result == {"step": "greeting"}
            proxy.refuse()
            proxy.cut()
            await platform.end_conversation("c1")
            await agent.until(lambda: bool(agent.errors))
            proxy.heal()
            await agent.until(lambda: "ended" in agent.events)
            assert agent.events[:3] == ["starting", "started", "error in on_conversation_ended"]

    asyncio.run(scenario())


def test_a_hook_whose_inner_work_is_cancelled_is_reported_and_counts_as_run(serving: Serving) -> None:
    class Cancelling(Gated):
        async def on_conversation_started(self, conversation_id: str) -> None:
            await self.note("starting")
            raise asyncio.CancelledError

    async def scenario() -> None:
        async with serving(Cancelling) as (platform, agent):
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "read")).result == {}
            assert agent.events == ["starting", "error in on_conversation_started"]
            assert await agent._lifecycle._claims.claim("on_conversation_started", "c1") is False

    asyncio.run(scenario())


def test_a_claim_is_known_again_by_who_made_it_and_by_nobody_else(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            first, second = [HookClaims(Stores(**opened), "shop", 60.0) for _ in range(2)]
            # As after a claim whose answer was lost.
            assert await first.claim("ended", "c1") is True
            assert await first.claim("ended", "c1") is True
            second.leave()
            assert await second.claim("ended", "c1") is None
            other_kind = HookClaims(Stores(**opened), "another", 60.0)
            assert await other_kind.claim("ended", "c1") is True
            await first.done("ended", "c1")
            assert await second.claim("ended", "c1") is False
            assert await first.claim("ended", "c1") is False

    asyncio.run(scenario())


def test_a_lease_that_ran_out_goes_to_the_next(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            gone, next_one = [HookClaims(Stores(**opened), "shop", 0.05) for _ in range(2)]
            assert await gone.claim("started", "c1") is True
            # It asks again and again for as long as another one has the lease.
            assert await next_one.claim("started", "c1") is True

    asyncio.run(scenario())


@pytest.mark.parametrize("colours", [("store",), ("async_store",), ("store", "async_store")])
def test_marks_of_hooks_are_no_content_and_outlive_the_content(url: str, prefix: str, colours: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            given = {colour: opened.get(colour) if colour in colours else None for colour in opened}
            claims, conversation = HookClaims(Stores(**given), "shop", 60.0), opened["store"].conversation("c1")
            assert await claims.claim("started", "c1") is True
            assert (conversation.exists(), conversation.version()) == (False, 0)
            # What is conditional on there being nothing yet can still be written.
            version = conversation.state.set("a", 1, expected_version=0)
            await claims.done("started", "c1")
            assert await claims.claim("ended", "c1") is True
            assert conversation.version() == version
            conversation.delete()
            await claims.done("ended", "c1")
            assert not conversation.exists()
            for hook in ("started", "ended"):
                assert await claims.claim(hook, "c1") is False

    asyncio.run(scenario())
