"""The local platform, driven by real SDK agents in this process and others, and by bare websockets."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conversimple import ConversimpleAgent, tool, tool_async
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from redstate import testing
from redstate.testing import (
    AgentGone,
    LocalPlatform,
    Misrouted,
    NoAgent,
    PlatformError,
    PlatformTimeout,
    ToolCallFailed,
)

PHOENIX = [Subprotocol("phoenix-websocket")]


class Echo(ConversimpleAgent):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hanging = asyncio.Event()
        self.configurations: list[dict[str, Any]] = []
        self.on_config_update(self.configurations.append)

    @tool("says what it was told")
    def echo(self, text: str) -> str:
        return text

    @tool_async("does not answer")
    async def hang(self) -> None:
        self.hanging.set()
        await asyncio.Event().wait()


class Refusing(ConversimpleAgent):
    @tool_async("refuses")
    async def refuse(self) -> None:
        raise ValueError("not today")


@asynccontextmanager
async def platform_with(
    *agent_classes: type[ConversimpleAgent], **keys: str
) -> AsyncIterator[tuple[LocalPlatform, Any]]:
    """Yield a platform and agents that joined it in this order."""
    async with LocalPlatform() as platform:
        agents = [one(api_key=keys.get("api_key", "key"), platform_url=platform.url) for one in agent_classes]
        for agent in agents:
            await agent.start()
        try:
            yield platform, agents
        finally:
            await asyncio.gather(*(agent.stop() for agent in agents))


class BareClient:
    """A client that says exactly what a test wants it to say."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, event: str, payload: Any, topic: str = "customer:bare") -> None:
        frame = {"join_ref": None, "ref": "1", "topic": topic, "event": event, "payload": payload}
        await self.connection.send(json.dumps(frame))

    async def hear(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                _, _, _, heard, payload = json.loads(await self.connection.recv())
                if heard == event:
                    return payload


@asynccontextmanager
async def bare_client(platform: LocalPlatform) -> AsyncIterator[BareClient]:
    async with connect(f"{platform.url}?customer_id=bare&auth_token=any", subprotocols=PHOENIX) as connection:
        client = BareClient(connection)
        await client.say("phx_join", {})
        assert (await client.hear("phx_reply"))["status"] == "ok"
        yield client


async def register(platform: LocalPlatform, client: BareClient, conversation_id: str) -> None:
    starting = asyncio.create_task(platform.start_conversation(conversation_id))
    await client.hear("conversation_ready")
    await client.say("register_conversation_tools", {"conversation_id": conversation_id, "tools": [{"name": "t"}]})
    await starting


def test_agents_join_in_order_and_register_their_tools_per_conversation() -> None:
    async def scenario() -> None:
        async with platform_with(Echo, Refusing) as (platform, _):
            first, second = platform.agents
            assert (first.id, second.id) == ("agent-1", "agent-2")
            assert first.customer_id == second.customer_id
            conv = await platform.start_conversation(agent_id="shop", registrations=2)
            assert conv.agents == ("agent-1", "agent-2")
            assert [one["name"] for one in first.tools[conv.id]] == ["echo", "hang"]
            assert [one["name"] for one in second.tools[conv.id]] == ["refuse"]

    asyncio.run(scenario())


def test_calls_take_turns_and_go_only_to_those_that_have_the_tool() -> None:
    async def scenario() -> None:
        async with platform_with(Echo, Refusing, Echo) as (platform, _):
            conv = await platform.start_conversation(registrations=3)
            results = [await platform.call(conv.id, "echo", {"text": str(n)}) for n in range(4)]
            assert [result.agent for result in results] == ["agent-1", "agent-3", "agent-1", "agent-3"]
            assert [result.result for result in results] == ["0", "1", "2", "3"]
            assert all(0 < result.seconds < 30 for result in results)
            assert (await platform.call(conv.id, "echo", {"text": ""}, agent="agent-3")).agent == "agent-3"
            with pytest.raises(ToolCallFailed, match="not found"):
                await platform.call(conv.id, "no such tool")

    asyncio.run(scenario())


def test_an_error_of_a_tool_is_raised_with_its_message() -> None:
    async def scenario() -> None:
        async with platform_with(Refusing) as (platform, _):
            conv = await platform.start_conversation("c1")
            with pytest.raises(ToolCallFailed) as caught:
                await platform.call(conv.id, "refuse", call_id="x")
            error = caught.value
            assert (error.call_id, error.conversation_id, error.tool) == ("x", "c1", "refuse")
            assert (error.agent, error.message) == ("agent-1", "not today")

    asyncio.run(scenario())


def test_a_conversation_of_chosen_agents_is_unknown_to_the_others() -> None:
    async def scenario() -> None:
        async with platform_with(Echo, Echo) as (platform, _):
            conv = await platform.start_conversation(to=["agent-2"])
            assert {(await platform.call(conv.id, "echo", {"text": ""})).agent for _ in range(3)} == {"agent-2"}
            assert conv.id not in platform.agents[0].tools
            await platform.end_conversation(conv.id)
            with pytest.raises(NoAgent, match="no agent registered tools"):
                await platform.call(conv.id, "echo", {"text": ""})

    asyncio.run(scenario())


def test_agents_of_different_keys_do_not_share_a_topic() -> None:
    async def scenario() -> None:
        async with platform_with(Echo) as (platform, _):
            other = Echo(api_key="another key", platform_url=platform.url)
            await other.start()
            with pytest.raises(NoAgent, match="2 customers"):
                await platform.start_conversation()
            conv = await platform.start_conversation(customer_id=other.customer_id)
            assert conv.agents == ("agent-2",)
            await other.stop()

    asyncio.run(scenario())


def test_what_does_not_happen_in_time_is_named() -> None:
    async def scenario() -> None:
        async with platform_with(Echo) as (platform, (agent,)):
            conv = await platform.start_conversation("c1")
            with pytest.raises(PlatformTimeout, match=r"no answer to hang \(call x, conversation c1\) from agent-1"):
                await platform.call(conv.id, "hang", call_id="x", timeout=0.05)
            await agent.hanging.wait()
            assert [call.call_id for call in platform.unanswered()] == ["x"]
            with pytest.raises(TimeoutError, match="1 of 2 agents are joined"):
                await platform.wait_for_agents(2, timeout=0.01)
            with pytest.raises(PlatformTimeout, match="1 of 2 agents have registered"):
                await platform.start_conversation(registrations=2, timeout=0.05)
            with pytest.raises(PlatformTimeout, match="0 of 1 answers"):
                await platform.wait_for_responses("x", timeout=0.01)

    asyncio.run(scenario())


def test_a_call_in_flight_is_refused_a_second_time_and_can_be_answered_by_another_agent() -> None:
    async def scenario() -> None:
        async with platform_with(Echo, Echo) as (platform, (first, _)):
            conv = await platform.start_conversation(registrations=2)
            call = asyncio.create_task(platform.call(conv.id, "hang", call_id="x", agent="agent-1", tool_timeout=300))
            await first.hanging.wait()
            with pytest.raises(PlatformError, match="in flight"):
                await platform.call(conv.id, "hang", call_id="x")
            await platform.drop("agent-1")
            async with bare_client(platform) as client:
                answer = {"call_id": "x", "conversation_id": conv.id, "result": "from elsewhere"}
                await client.say("tool_call_response", answer)
                assert (await call).result == "from elsewhere"

    asyncio.run(scenario())


def test_an_answer_under_a_wrong_conversation_is_recorded_and_fails_the_call() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as client:
            await register(platform, client, "c1")
            call = asyncio.create_task(platform.call("c1", "t", call_id="x"))
            assert (await client.hear("tool_call_request"))["conversation_id"] == "c1"
            await client.say("tool_call_response", {"call_id": "x", "conversation_id": "c2", "result": 1})
            with pytest.raises(Misrouted, match="answered under conversation c2"):
                await call
            assert [(one.call_id, one.conversation_id) for one in platform.misrouted] == [("x", "c2")]
            assert [one.call_id for one in platform.unanswered()] == ["x"]

    asyncio.run(scenario())


def test_equal_call_ids_of_two_conversations_are_told_apart() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as client:
            for conversation_id in ("c1", "c2"):
                await register(platform, client, conversation_id)
            calls = [asyncio.create_task(platform.call(one, "t", call_id="x")) for one in ("c1", "c2")]
            for _ in calls:
                await client.hear("tool_call_request")
            for conversation_id in ("c2", "c1"):
                answer = {"call_id": "x", "conversation_id": conversation_id, "result": conversation_id}
                await client.say("tool_call_response", answer)
            assert [(await call).result for call in calls] == ["c1", "c2"]
            assert platform.misrouted == ()
            with pytest.raises(PlatformError, match="c1, c2 has one"):
                await platform.redeliver("x")
            await platform.redeliver("x", conversation_id="c2")
            assert (await client.hear("tool_call_request"))["conversation_id"] == "c2"

    asyncio.run(scenario())


# Calls that move from one agent to another ----------------------------------------------------------------------------


async def offer(client: BareClient, conversation_id: str) -> None:
    """Register a tool without having been told of the conversation, as an agent does that takes it over."""
    await client.say("register_conversation_tools", {"conversation_id": conversation_id, "tools": [{"name": "t"}]})
    await client.hear("phx_reply")


async def answer(client: BareClient, result: Any) -> None:
    """Hear the next tool call and answer it."""
    asked = await client.hear("tool_call_request")
    about = {name: asked[name] for name in ("call_id", "conversation_id")}
    await client.say("tool_call_response", {**about, "result": result})


def test_a_call_that_is_waited_for_is_sent_again_to_an_agent_that_registers_later() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as first, bare_client(platform) as second:
            starting = asyncio.create_task(platform.start_conversation("c1"))
            await offer(first, "c1")
            await starting
            call = asyncio.create_task(platform.call("c1", "t", call_id="x", agent="agent-1"))
            assert (await first.hear("tool_call_request"))["call_id"] == "x"
            await second.say("register_conversation_tools", {"conversation_id": "c1", "tools": [{"name": "t"}]})
            await answer(second, "from the second")
            served = await call
            assert (served.agent, served.result) == ("agent-2", "from the second")
            assert len(platform.responses("x")) == 1

    asyncio.run(scenario())


def test_a_call_whose_agent_leaves_goes_to_another_that_has_registered() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as first, bare_client(platform) as second:
            starting = asyncio.create_task(platform.start_conversation("c1", registrations=2))
            for client in (first, second):
                await offer(client, "c1")
            await starting
            call = asyncio.create_task(platform.call("c1", "t"))
            await first.hear("tool_call_request")
            await platform.drop("agent-1")
            await answer(second, "from the second")
            assert (await call).agent == "agent-2"

    asyncio.run(scenario())


@pytest.mark.parametrize("in_flight", [True, False])
def test_a_call_that_nobody_is_left_for_waits_for_the_next_agent_that_registers(in_flight: bool) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as first, bare_client(platform) as second:
            await register(platform, first, "c1")
            if in_flight:
                call = asyncio.create_task(platform.call("c1", "t"))
                await first.hear("tool_call_request")
                await platform.drop("agent-1")
            else:
                await platform.drop("agent-1")
                call = asyncio.create_task(platform.call("c1", "t"))
            await second.say("register_conversation_tools", {"conversation_id": "c1", "tools": [{"name": "t"}]})
            await answer(second, "from the second")
            assert (await call).agent == "agent-2"

    asyncio.run(scenario())


def test_a_call_in_a_conversation_that_nobody_ever_served_is_refused_at_once() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as client:
            with pytest.raises(NoAgent, match="no agent registered tools for c1"):
                await platform.call("c1", "t")
            await register(platform, client, "c1")
            await platform.end_conversation("c1")
            with pytest.raises(NoAgent, match="no agent registered tools for c1"):
                await platform.call("c1", "t")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "7",
        "[]",
        '["1", "2", "customer:bare", 5, {}]',
        '{"topic": "customer:bare", "event": "heartbeat", "payload": []}',
        '{"topic": "customer:bare", "event": "tool_call_response", "payload": {"result": NaN}}',
        '{"topic": "customer:bare", "event": "register_conversation_tools", "payload": {"tools": []}}',
    ],
)
def test_malformed_frames_are_counted_and_ignored(frame: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, bare_client(platform) as client:
            await client.connection.send(frame)
            await client.say("heartbeat", {})
            assert await client.hear("phx_reply") == {"status": "ok", "response": {}}
            assert (platform.malformed_frames, platform.heartbeats) == (1, 1)

    asyncio.run(scenario())
    assert "ignored a malformed frame of <JoinedAgent agent-1>" in caplog.text
    assert "customer:bare" not in caplog.text


def test_only_members_of_a_topic_are_heard() -> None:
    async def scenario() -> None:
        async with LocalPlatform(auth_token="right") as platform:
            async with connect(f"{platform.url}?customer_id=bare&auth_token=right", subprotocols=PHOENIX) as connection:
                client = BareClient(connection)
                await client.say("heartbeat", {})
                assert (await client.hear("phx_reply"))["response"] == {"reason": "unmatched topic"}
                await client.say("phx_join", {}, topic="customer:somebody else")
                assert (await client.hear("phx_reply"))["status"] == "error"
                assert platform.agents == ()
                await client.say("phx_join", {})
                assert (await client.hear("phx_reply"))["status"] == "ok"
                assert len(platform.agents) == 1
                await client.say("no such event", {})
                assert (await client.hear("phx_reply"))["response"] == {"reason": "unmatched event"}
            with pytest.raises(InvalidStatus):
                await connect(platform.url.replace("customer_sdk", "elsewhere"))

    asyncio.run(scenario())


def test_an_agent_that_was_dropped_is_gone() -> None:
    async def scenario() -> None:
        async with platform_with(Echo) as (platform, _):
            (agent,) = platform.agents
            await platform.drop(agent)
            assert not agent.connected
            assert platform.agents == ()
            with pytest.raises(NoAgent, match="agent-1 is not joined"):
                await platform.drop(agent)
            with pytest.raises(NoAgent):
                await platform.start_conversation()
            with pytest.raises(AgentGone):
                await agent.send("config_update", {})

    asyncio.run(scenario())


def test_any_message_can_be_sent() -> None:
    async def scenario() -> None:
        async with platform_with(Echo) as (platform, (agent,)):
            await platform.send("config_update", {"customer_id": "x", "limit": 3})
            conv = await platform.start_conversation()
            await platform.call(conv.id, "echo", {"text": ""})
            assert agent.configurations == [{"customer_id": "x", "limit": 3}]

    asyncio.run(scenario())


def test_the_url_is_known_only_while_the_platform_runs() -> None:
    with pytest.raises(PlatformError, match="async with"):
        _ = LocalPlatform().url


def test_the_package_names_what_it_exports() -> None:
    assert sorted(testing.__all__) == testing.__all__
    assert all(getattr(testing, name).__name__ == name for name in testing.__all__)
    with pytest.raises(AttributeError):
        _ = testing.nothing  # type: ignore[attr-defined]  # that is the point


WORKER = """
import asyncio, os, sys
from conversimple import ConversimpleAgent, tool

class Worker(ConversimpleAgent):
    @tool("tells who serves")
    def tell(self) -> int:
        return os.getpid()

async def main():
    agent = Worker(api_key="key", platform_url=sys.argv[1])
    await agent.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await agent.stop()

asyncio.run(main())
"""


def test_agents_of_several_processes_share_the_calls_of_one_conversation() -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform:
            command = [sys.executable, "-c", WORKER, platform.url]
            workers = [await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE) for _ in range(2)]
            try:
                await platform.wait_for_agents(2, timeout=30)
                conv = await platform.start_conversation(registrations=2)
                results = await asyncio.gather(*[platform.call(conv.id, "tell") for _ in range(30)])
                served = [result.result for result in results]
                assert sorted(Counter(served).items()) == sorted((worker.pid, 15) for worker in workers)
                victim = platform.agents[0]
                pid = (await platform.call(conv.id, "tell", agent=victim)).result
                next(worker for worker in workers if worker.pid == pid).kill()
                await platform.wait_for_departure(victim)
                assert (await platform.call(conv.id, "tell")).agent == platform.agents[0].id
            finally:
                for worker in workers:
                    await worker.communicate(b"")

    asyncio.run(scenario())
