"""Hooks of real SDK agents: what runs when a conversation starts and ends, how often, and in which order."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_serving import Serving, serving_on, stores
from conversimple import ConversimpleDispatcher, tool_async

from redstate.conversimple import StatefulAgent, _stores
from redstate.testing import LocalPlatform


class Recorder(StatefulAgent):
    """Notes what ran, and lets tests wait for it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: list[Any] = []
        self._noted = asyncio.Condition()

    async def note(self, event: Any) -> None:
        self.events.append(event)
        async with self._noted:
            self._noted.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._noted:
            await self._noted.wait_for(condition)

    @tool_async("does nothing")
    async def work(self) -> str | None:
        await self.note(("work", self.current_conversation_id))
        return self.current_conversation_id


@pytest.fixture
def serving(url: str, prefix: str) -> Serving:
    return serving_on(url, prefix)


class AsyncHooks(Recorder):
    async def on_conversation_started(self, conversation_id: str) -> None:
        await super().on_conversation_started(conversation_id)
        await self.note(("started", conversation_id, self.current_conversation_id))

    async def on_conversation_ended(self, conversation_id: str) -> None:
        await super().on_conversation_ended(conversation_id)
        await self.note(("ended", conversation_id, self.current_conversation_id))


class Inheriting(AsyncHooks):
    """Takes its hooks over as they are."""


class SyncHooks(Recorder):
    def on_conversation_started(self, conversation_id: str) -> None:
        super().on_conversation_started(conversation_id)
        self._note_from_thread("started", conversation_id)

    def on_conversation_ended(self, conversation_id: str) -> None:
        super().on_conversation_ended(conversation_id)
        self._note_from_thread("ended", conversation_id)

    async def start(self, conversation_id: str | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().start(conversation_id)

    def _note_from_thread(self, event: str, conversation_id: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        noted = self.note((event, conversation_id, self.current_conversation_id))
        asyncio.run_coroutine_threadsafe(noted, self.loop).result(20)


@pytest.mark.parametrize("agent_class", [AsyncHooks, Inheriting, SyncHooks])
def test_overridden_hooks_run_once_bound_to_their_conversation(serving: Serving, agent_class: type[Recorder]) -> None:
    async def scenario() -> None:
        async with serving(agent_class) as (platform, agent):
            await platform.start_conversation("c1", ready=True, lifecycle=True)
            await platform.start_conversation("c1", ready=True, lifecycle=True)
            await platform.call("c1", "work")
            await platform.end_conversation("c1")
            await platform.end_conversation("c1", to=["agent-1"])
            await agent.until(lambda: len(agent.events) >= 3)
            await platform.start_conversation("c2")
            await platform.call("c2", "work")
            assert agent.events == [
                ("started", "c1", "c1"),
                ("work", "c1"),
                ("ended", "c1", "c1"),
                ("started", "c2", "c2"),
                ("work", "c2"),
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize(("ready", "lifecycle"), [(True, False), (False, True)])
def test_either_message_starts_a_conversation(serving: Serving, ready: bool, lifecycle: bool) -> None:
    async def scenario() -> None:
        async with serving(AsyncHooks) as (platform, agent):
            await platform.start_conversation("c1", ready=ready, lifecycle=lifecycle)
            await platform.call("c1", "work")
            assert agent.events == [("started", "c1", "c1"), ("work", "c1")]

    asyncio.run(scenario())


@pytest.mark.parametrize("agent_class", [Recorder, AsyncHooks])
def test_registered_callbacks_run_after_the_override(serving: Serving, agent_class: type[Recorder]) -> None:
    async def scenario() -> None:
        async with serving(agent_class) as (platform, agent):

            async def registered(conversation_id: str) -> None:
                await agent.note(("registered", conversation_id, agent.current_conversation_id))

            threads: list[threading.Thread] = []
            agent.on_conversation_started(registered)
            agent.on_conversation_started(lambda _: threads.append(threading.current_thread()))
            agent.on_conversation_ended(registered)
            await platform.start_conversation("c1")
            await platform.call("c1", "work")
            await platform.end_conversation("c1")
            await agent.until(lambda: agent.events[-1][0] == "registered")
            own = agent_class is AsyncHooks
            started, ended = [("started", "c1", "c1")] * own, [("ended", "c1", "c1")] * own
            registered_ran = ("registered", "c1", "c1")
            assert agent.events == [*started, registered_ran, ("work", "c1"), *ended, registered_ran]
            assert len(threads) == 1
            assert threads[0] is not threading.main_thread()

    asyncio.run(scenario())


def test_a_hook_from_a_mixin_runs_and_its_name_still_registers(serving: Serving) -> None:
    class Mixin:
        async def on_conversation_started(self, conversation_id: str) -> None:
            await self.note(("mixin", conversation_id))  # type: ignore[attr-defined]  # the agent has it
            await super().on_conversation_started(conversation_id)  # type: ignore[misc]  # so has StatefulAgent

    class Mixed(Mixin, AsyncHooks):
        pass

    async def scenario() -> None:
        async with serving(Mixed) as (platform, agent):

            async def registered(conversation_id: str) -> None:
                await agent.note(("registered", conversation_id))

            agent.on_conversation_started(registered)
            await platform.start_conversation("c1")
            await platform.call("c1", "work")
            assert agent.events == [("mixin", "c1"), ("started", "c1", "c1"), ("registered", "c1"), ("work", "c1")]

    asyncio.run(scenario())


class Gated(Recorder):
    """Its hooks wait at a gate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gates = {"slow": asyncio.Event()}

    async def on_conversation_started(self, conversation_id: str) -> None:
        await self.note(("starting", conversation_id))
        if conversation_id in self.gates:
            await self.gates[conversation_id].wait()
        await self.note(("started", conversation_id))

    async def on_conversation_ended(self, conversation_id: str) -> None:
        await self.note(("ended", conversation_id))


def test_calls_wait_for_the_started_hook_of_their_own_conversation_only(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Gated) as (platform, agent):
            await platform.start_conversation("slow")
            early = asyncio.create_task(platform.call("slow", "work"))
            await platform.start_conversation("fast")
            await platform.call("fast", "work")
            assert ("work", "slow") not in agent.events
            agent.gates["slow"].set()
            assert (await early).result == "slow"
            events = agent.events
            assert events.index(("started", "slow")) < events.index(("work", "slow"))

    asyncio.run(scenario())


def test_the_ended_hook_waits_for_the_started_hook(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Gated) as (platform, agent):
            await platform.start_conversation("slow")
            await platform.end_conversation("slow")
            await platform.start_conversation("fast")
            await platform.call("fast", "work")
            assert ("ended", "slow") not in agent.events
            agent.gates["slow"].set()
            await agent.until(lambda: ("ended", "slow") in agent.events)
            assert agent.events.index(("started", "slow")) < agent.events.index(("ended", "slow"))

    asyncio.run(scenario())


def test_a_stopped_worker_ends_no_conversation_but_finishes_its_hooks(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Gated) as (platform, agent):
            ended: list[str] = []
            agent.on_conversation_ended(ended.append)
            await platform.start_conversation("slow")
            await agent.until(lambda: ("starting", "slow") in agent.events)
            stopping = asyncio.create_task(agent.stop())
            await platform.wait_for_departure(platform.agents[0])
            assert not stopping.done()
            agent.gates["slow"].set()
            await stopping
            assert agent.events == [("starting", "slow"), ("started", "slow")]
            assert ended == []

    asyncio.run(scenario())


def test_an_ending_that_arrives_just_before_the_stop_is_not_lost(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(AsyncHooks) as (platform, agent):
            await platform.start_conversation("c1")
            await platform.call("c1", "work")
            await platform.end_conversation("c1")
            await agent.stop()
            assert agent.events[-1] == ("ended", "c1", "c1")

    asyncio.run(scenario())


def test_an_ending_of_a_conversation_that_is_not_claimed_yet_is_not_lost_by_a_stop(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(AsyncHooks) as (platform, agent):
            await platform.end_conversation("c1", to=["agent-1"])
            await agent.stop()
            assert agent.events == [("ended", "c1", "c1")]

    asyncio.run(scenario())


def test_a_hook_may_stop_its_own_agent(serving: Serving) -> None:
    class Leaving(Recorder):
        async def on_conversation_ended(self, conversation_id: str) -> None:
            await self.stop()
            await self.note("left")

    async def scenario() -> None:
        async with serving(Leaving) as (platform, agent):
            await platform.start_conversation("c1")
            await platform.end_conversation("c1")
            await agent.until(lambda: agent.events == ["left"])

    asyncio.run(scenario())


def test_a_conversation_known_at_start_runs_its_started_hook_once(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with stores(url, prefix) as opened, LocalPlatform() as platform:
            agent = AsyncHooks(api_key="key", platform_url=platform.url, **opened)
            await agent.start("c1")
            assert agent.events == [("started", "c1", "c1")]
            await platform.start_conversation("c1")
            await platform.call("c1", "work")
            assert agent.events == [("started", "c1", "c1"), ("work", "c1")]
            await agent.stop()

    asyncio.run(scenario())


def test_a_lifecycle_message_without_an_id_runs_nothing(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(AsyncHooks) as (platform, agent):
            await platform.send("conversation_lifecycle", {"event": "conversation_started"})
            await platform.send("conversation_lifecycle", {"event": "conversation_ended", "conversation_id": 7})
            await platform.start_conversation("c1")
            await platform.call("c1", "work")
            assert agent.events == [("started", "c1", "c1"), ("work", "c1")]

    asyncio.run(scenario())


class Failing(Recorder):
    def on_conversation_started(self, conversation_id: str) -> None:
        raise LookupError("the greeting is missing")


def test_a_failing_hook_is_logged_with_its_traceback_and_fed_to_the_error_callback(
    serving: Serving,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with serving(Failing) as (platform, agent):
            errors: list[tuple[str, str, dict[str, Any]]] = []
            registered: list[str] = []
            agent.on_error(lambda *error: errors.append(error))
            agent.on_conversation_started(registered.append)
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "work")).result == "c1"
            assert registered == ["c1"]
            ((kind, message, details),) = errors
            assert kind == "callback_failed"
            assert message == "on_conversation_started raised LookupError: the greeting is missing"
            assert (details["conversation_id"], type(details["exception"])) == ("c1", LookupError)

    asyncio.run(scenario())
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.name == "redstate.conversimple"
    assert "Traceback" in caplog.text
    assert "the greeting is missing" in caplog.text


def test_a_failing_callback_of_the_sdk_is_reported_alike(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(Recorder) as (platform, agent):
            errors: list[str] = []

            async def on_error(kind: str, message: str, details: dict[str, Any]) -> None:
                errors.append(message)
                raise RuntimeError("even this one fails")

            def on_tool_called(call: Any) -> None:
                raise LookupError(call.conversation_id)

            agent.on_error(on_error)
            agent.on_tool_called(on_tool_called)
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "work")).result == "c1"
            assert errors == ["on_tool_called raised LookupError: c1"]

    asyncio.run(scenario())
    assert caplog.text.count("Traceback") >= 2


def test_a_refused_key_reaches_a_sync_error_callback_and_start_says_so() -> None:
    async def scenario() -> None:
        async with LocalPlatform(auth_token="right") as platform:
            agent, errors = StatefulAgent(api_key="wrong", platform_url=platform.url), []
            agent.on_error(lambda kind, message, details: errors.append(kind))
            with pytest.raises(RuntimeError, match="did not connect"):
                await agent.start()
            assert errors == ["AUTH_FAILED"]
            assert platform.agents == ()

    asyncio.run(scenario())


DISPATCHED = """
import queue
from conversimple import tool
from redstate.conversimple import StatefulAgent

events = queue.Queue()

class Shop(StatefulAgent):
    agent_id = "shop"

    def on_conversation_started(self, conversation_id):
        events.put(("started", self.current_conversation_id))

    def on_conversation_ended(self, conversation_id):
        events.put(("ended", self.current_conversation_id))

    @tool("works")
    def work(self) -> str:
        events.put(("work", self.current_conversation_id))
        return self.current_conversation_id
"""


def test_agents_of_the_sdks_dispatcher_run_their_hooks(
    tmp_path: Path, url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dispatched_shop.py").write_text(DISPATCHED)
    # The dispatcher makes its agents by itself, so they take the stores of the environment.
    shared = _stores.SharedStores()
    monkeypatch.setattr(_stores, "shared", shared)
    monkeypatch.setenv("REDSTATE_URL", url)
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)

    async def scenario() -> None:
        async with LocalPlatform() as platform:
            dispatcher = ConversimpleDispatcher("key", platform.url, search_path=tmp_path)
            await dispatcher.start()
            events = sys.modules["dispatcher_auto.dispatched_shop"].events
            for conversation_id in ("c1", "c2"):
                # The dispatcher alone is told; the agent that it starts joins and registers by itself.
                await platform.start_conversation(
                    conversation_id, agent_id="shop", to=["agent-1"], lifecycle=False, registrations=1
                )
                assert (await platform.call(conversation_id, "work")).result == conversation_id
                await platform.end_conversation(conversation_id)
                seen = [await asyncio.to_thread(events.get, timeout=20) for _ in range(3)]
                assert seen == [(event, conversation_id) for event in ("started", "work", "ended")]
            await dispatcher.stop()
            assert events.empty()
            await shared.for_loop().close()

    asyncio.run(scenario())
