"""Who runs a hook: leases, agents that stop meanwhile, a store that fails."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from agent_serving import Serving, field_of, serving_on, set_field, stores
from conversimple import tool_async

from redstate.conversimple import StatefulAgent, _lifecycle
from redstate.errors import CallTimeout, CorruptState, InvalidId, ServerUnavailable
from redstate.testing import LocalPlatform, ToolCallFailed
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


class GatedInC1(Gated):
    """So it does in "c1"; it begins to serve others at once, and notes nothing of them."""

    async def on_conversation_started(self, conversation_id: str) -> None:
        if conversation_id == "c1":
            await super().on_conversation_started(conversation_id)

    async def on_conversation_resumed(self, conversation_id: str) -> None:
        if conversation_id == "c1":
            await super().on_conversation_resumed(conversation_id)


async def serve(
    stack: AsyncExitStack,
    platform: LocalPlatform,
    gate: asyncio.Event,
    opened: dict[str, Any],
    agent_class: type[Gated] = Gated,
) -> Gated:
    agent = agent_class(api_key="key", platform_url=platform.url, **opened)
    agent.gate = gate
    await agent.start()
    stack.push_async_callback(agent.stop)
    return agent


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
            assert sorted(agent.events for agent in agents) == [[], ["starting", "started"]]

    asyncio.run(scenario())


def test_stopping_waits_for_no_hook_of_another_process_and_a_later_start_does(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            first, second = [await serve(stack, platform, gate, opened, GatedInC1) for _ in range(2)]
            stack.callback(gate.set)
            await platform.start_conversation("c1", to=["agent-1"])
            await first.until(lambda: first.events == ["starting"])
            await platform.start_conversation("c1", to=["agent-2"], registrations=0)
            async with asyncio.timeout(10):
                await second.stop()
            assert first.events == ["starting"]
            assert second.events == []
            await second.start()
            called = asyncio.Event()
            first.on_tool_called(lambda call: called.set())
            early = asyncio.create_task(platform.call("c1", "read", call_id="early"))
            async with asyncio.timeout(20):
                await called.wait()
            await platform.redeliver("early", agent="agent-3")
            # Messages are handled in order: the agent that answers this has had the call that waits.
            await platform.start_conversation("c2", to=["agent-3"], ready=False)
            assert platform.responses("early") == ()
            gate.set()
            assert (await early).result == {"step": "greeting"}
            answers = await platform.wait_for_responses("early", count=2)
            assert {(one.agent, one.result["step"]) for one in answers} == {
                ("agent-1", "greeting"),
                ("agent-3", "greeting"),
            }
            assert (first.events, second.events) == (["starting", "started"], [])

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
            proxy.cut()
            starting = asyncio.create_task(platform.start_conversation("c1", ready=False))
            await agent.until(lambda: bool(agent.errors))
            assert isinstance(agent.errors[0], ServerUnavailable)
            assert agent.events == ["error in on_conversation_started"]
            proxy.heal()
            await starting
            assert (await platform.call("c1", "read")).result == {"step": "greeting"}
            assert agent.events[1:] == ["starting", "started"]

    asyncio.run(scenario())
    (logged,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.exc_info is not None
    assert "conversation 'c1' could not be claimed" in caplog.text


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


def test_a_call_fails_while_the_conversation_cannot_be_claimed_and_runs_after_the_started_hook(
    server: Any, prefix: str
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            proxy = stack.enter_context(FaultProxy(server.url))
            opened = await stack.enter_async_context(stores(proxy.url, prefix, timeout=0.2))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            gate.set()
            agent = await serve(stack, platform, gate, opened)
            proxy.refuse()
            proxy.cut()
            with pytest.raises(ToolCallFailed, match="The call could not be claimed in the store"):
                await platform.call("c1", "read", agent="agent-1", tool_timeout=0.5)
            had = asyncio.Event()
            agent.on_config_update(lambda _: had.set())
            waiting = asyncio.create_task(platform.call("c1", "read", agent="agent-1", call_id="waiting"))
            # Messages are handled in order.
            await platform.send("config_update", {})
            async with asyncio.timeout(20):
                await had.wait()
            assert platform.responses("waiting") == ()
            proxy.heal()
            assert (await waiting).result == {"step": "greeting"}
            assert agent.events == ["starting", "started"]

    asyncio.run(scenario())


def test_a_call_fails_while_the_start_cannot_be_claimed_and_runs_after_the_started_hook(
    server: Any, prefix: str
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            proxy = stack.enter_context(FaultProxy(server.url))
            opened = await stack.enter_async_context(stores(proxy.url, prefix, timeout=0.2))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            gate.set()
            agent = await serve(stack, platform, gate, opened)
            proxy.swallow_requests(None, matching=lambda name, words: b"hgated:on_conversation_started" in words)
            with pytest.raises(ToolCallFailed, match="The conversation's start could not be claimed in the store"):
                await platform.call("c1", "read", agent="agent-1", tool_timeout=0.5)
            called = asyncio.Event()
            agent.on_tool_called(lambda call: called.set())
            waiting = asyncio.create_task(platform.call("c1", "read", agent="agent-1"))
            async with asyncio.timeout(20):
                await called.wait()
            proxy.heal()
            assert (await waiting).result == {"step": "greeting"}
            # Told once, however often the store was asked.
            assert agent.events == ["error in on_conversation_started", "starting", "started"]

    asyncio.run(scenario())


def test_a_call_in_a_conversation_whose_mark_is_corrupt_fails_at_once(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            agent = await serve(stack, platform, asyncio.Event(), opened)
            await opened["async_store"].conversation("c1").state.set("a", 1)
            await set_field(opened["store"], "hgated:on_conversation_started", "zzz")
            with pytest.raises(ToolCallFailed, match="The conversation's start could not be claimed in the store"):
                await platform.call("c1", "read", agent="agent-1")
            assert agent.events == ["error in on_conversation_started"]
            assert isinstance(agent.errors[0], CorruptState)

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [1, None])
def test_the_ended_hook_runs_when_the_customer_is_merged(server: Any, prefix: str, lost: int | None) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            proxy = stack.enter_context(FaultProxy(server.url))
            opened = await stack.enter_async_context(stores(proxy.url, prefix, timeout=0.3))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            gate.set()
            agent = await serve(stack, platform, gate, opened)
            await platform.start_conversation("c1")
            await platform.call("c1", "read")
            await agent.aupdate_state("c1", customer_id="ada")
            customer = opened["async_store"].customer("ada")
            key = customer.key.encode()
            proxy.swallow_requests(lost, matching=lambda name, words: key in words)
            await platform.end_conversation("c1")
            if lost is None:
                await agent.until(lambda: bool(agent.errors))
                assert isinstance(agent.errors[0], CallTimeout)
                assert "ended" not in agent.events
                assert await field_of(opened["store"], "hgated:on_conversation_ended") != b"done"
                proxy.heal()
            await agent.until(lambda: "ended" in agent.events)
            assert await customer.get("last_conversation") == "c1"
            await agent.stop()
            assert agent.events.count("ended") == 1
            assert await field_of(opened["store"], "hgated:on_conversation_ended") == b"done"

    asyncio.run(scenario())


def test_a_customer_that_cannot_be_is_reported_and_the_ended_hook_runs(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Gated) as (platform, agent):
            agent.gate = asyncio.Event()
            agent.gate.set()
            await platform.start_conversation("c1")
            await platform.call("c1", "read")
            await agent.aupdate_state("c1", customer_id="a" * 2000)
            await platform.end_conversation("c1")
            await agent.until(lambda: "ended" in agent.events)
            assert isinstance(agent.errors[0], InvalidId)

    asyncio.run(scenario())


@pytest.mark.parametrize("told", [["agent-1", "agent-2"], ["agent-2"]])
def test_the_ended_hook_waits_for_the_started_hook_whoever_is_told(url: str, prefix: str, told: list[str]) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            gate = asyncio.Event()
            first, second = [await serve(stack, platform, gate, opened, GatedInC1) for _ in range(2)]
            stack.callback(gate.set)
            await platform.start_conversation("c1", to=["agent-1"])
            await first.until(lambda: first.events == ["starting"])
            await platform.end_conversation("c1", to=told)
            # Messages are handled in order.
            for agent, conversation_id in (("agent-1", "c2"), ("agent-2", "c3")):
                for _ in range(3):
                    await platform.call(conversation_id, "read", agent=agent)
            assert (first.events, second.events) == (["starting"], [])
            if "agent-1" in told:
                gate.set()
                await first.until(lambda: first.events == ["starting", "started", "ended"])
                assert second.events == []
            else:
                # Who has heard of the end sees to it when the one that serves the conversation leaves.
                stopping = asyncio.create_task(first.stop())
                await platform.wait_for_departure(platform.agents[0])
                assert second.events == []
                gate.set()
                await stopping
                await second.until(lambda: "ended" in second.events)
                assert (first.events, second.events) == (["starting", "started"], ["ended"])

    asyncio.run(scenario())


def test_a_started_hook_that_nobody_began_before_the_end_never_runs(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(stores(url, prefix))
            platform = await stack.enter_async_context(LocalPlatform())
            first, second = [await serve(stack, platform, asyncio.Event(), opened, GatedInC1) for _ in range(2)]
            await platform.end_conversation("c1", to=["agent-1"])
            await first.until(lambda: first.events == ["ended"])
            await platform.start_conversation("c1", to=["agent-2"], registrations=0)
            # Messages are handled in order.
            for _ in range(3):
                await platform.call("c2", "read", agent="agent-2")
            assert second.events == []
            assert "c1" not in platform.agents[1].tools

    asyncio.run(scenario())


def test_the_conversations_that_were_longest_idle_are_forgotten_first(
    url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lifecycle, "REMEMBERED", 3)

    async def scenario() -> None:
        async with stores(url, prefix) as opened:
            agent = GatedInC1(api_key="key", **opened)
            agent.gate = asyncio.Event()
            assert await agent._ownership.hold("c1")
            await agent._lifecycle.begin("c1")
            for one in ("c2", "c3", "c2", "c4", "c5"):
                assert await agent._ownership.hold(one)
                await agent._lifecycle.begun(one)
            assert agent.known_conversations() == ["c1", "c4", "c5"]
            agent.gate.set()
            await agent._lifecycle.drain()
            assert await agent._ownership.hold("c6")
            await agent._lifecycle.begun("c6")
            assert agent.known_conversations() == ["c4", "c5", "c6"]
            await agent._ownership.leave()

    asyncio.run(scenario())
