"""Tool calls of real SDK agents: each under its own conversation, once, and always with an answer."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from agent_serving import Serving, serving_on, stores
from conversimple import tool, tool_async
from conversimple.tools import discover_tools

from redstate.conversimple import StatefulAgent
from redstate.conversimple._binding import Binding, bound
from redstate.testing import LocalPlatform, ToolCallFailed


@pytest.fixture
def serving(url: str, prefix: str) -> Serving:
    return serving_on(url, prefix)


class Teller(StatefulAgent):
    """Tells which conversation it believes to serve, at moments when many calls are under way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.all_async_calls_inside = asyncio.Barrier(60)
        self.all_sync_calls_inside = threading.Barrier(4)

    def _ids(self) -> list[str | None]:
        return [self.current_conversation_id, self.conversation_id, self.get_current_conversation_id()]

    @tool("tells its conversation")
    def tell(self) -> list:
        return self._ids()

    @tool("tells its conversation while others run in other threads")
    def tell_together(self) -> list:
        before = self._ids()
        self.all_sync_calls_inside.wait(30)
        return before + self._ids()

    @tool_async("tells its conversation while others run on the loop")
    async def tell_together_async(self) -> list:
        before = self._ids()
        await self.all_async_calls_inside.wait()
        return before + self._ids()

    @tool_async("asks tasks and threads that it starts")
    async def tell_nested(self) -> list:
        async def inner() -> list[str | None]:
            await asyncio.sleep(0)
            return self._ids() + await asyncio.to_thread(self._ids)

        task = asyncio.create_task(inner())
        return (await asyncio.gather(inner(), inner()))[0] + await task


def test_async_calls_of_many_conversations_on_one_instance_each_see_their_own(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Teller) as (platform, _):
            ids = [(await platform.start_conversation()).id for _ in range(12)]
            results = await asyncio.gather(*[platform.call(ids[n % 12], "tell_together_async") for n in range(60)])
            assert [result.result for result in results] == [[ids[n % 12]] * 6 for n in range(60)]
            assert platform.misrouted == ()

    asyncio.run(scenario())


def test_sync_calls_of_many_conversations_on_one_instance_each_see_their_own(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Teller) as (platform, _):
            ids = [(await platform.start_conversation()).id for _ in range(4)]
            results = await asyncio.gather(*[platform.call(one, "tell_together") for one in ids])
            assert [result.result for result in results] == [[one] * 6 for one in ids]
            assert platform.misrouted == ()

    asyncio.run(scenario())


def test_tasks_and_threads_started_by_a_tool_see_its_conversation(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Teller) as (platform, _):
            ids = [(await platform.start_conversation()).id for _ in range(3)]
            results = await asyncio.gather(*[platform.call(one, "tell_nested") for one in ids])
            assert [set(result.result) for result in results] == [{one} for one in ids]

    asyncio.run(scenario())


def test_a_request_without_a_conversation_is_served_under_the_one_the_sdk_saw_last(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Teller) as (platform, _):
            await platform.start_conversation("first")
            await platform.start_conversation("last")
            await platform.send("tool_call_request", {"call_id": "bare", "tool_name": "tell", "arguments": {}})
            (response,) = await platform.wait_for_responses("bare")
            assert (response.conversation_id, response.result) == ("last", ["last"] * 3)

    asyncio.run(scenario())


def test_outside_a_call_nothing_is_current_and_looking_costs_nothing() -> None:
    agent = Teller(api_key="key")
    assert agent.current_conversation_id is agent.get_current_conversation_id() is agent.conversation_id is None
    assert {method.__name__ for method, _ in discover_tools(agent)} == {
        "tell",
        "tell_together",
        "tell_together_async",
        "tell_nested",
    }
    agent.conversation_id = "set by the SDK"
    assert agent.conversation_id == "set by the SDK"
    assert agent.current_conversation_id is None


def test_an_agent_used_inside_another_agents_call_is_not_bound_by_it(serving: Serving) -> None:
    helper = Teller(api_key="key")

    class Asking(StatefulAgent):
        @tool("asks the helper")
        def ask(self) -> list:
            return [self.current_conversation_id, helper.current_conversation_id]

    async def scenario() -> None:
        async with serving(Asking) as (platform, _):
            conv = await platform.start_conversation()
            assert (await platform.call(conv.id, "ask")).result == [conv.id, None]

    asyncio.run(scenario())


def test_messages_handled_in_the_context_of_a_call_are_not_bound_by_it() -> None:
    async def scenario() -> None:
        agent, seen = Teller(api_key="key"), []
        agent.on_config_update(lambda _: seen.append(agent.current_conversation_id))
        with bound(Binding(agent, "c1", "call")):
            await agent._handle_platform_message("config_update", {})
            assert agent.current_conversation_id == "c1"
        assert seen == [None]

    asyncio.run(scenario())


class Counter(StatefulAgent):
    """Counts how often its tools really ran."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.runs: list[str | None] = []
        self.entered, self.go = asyncio.Event(), asyncio.Event()

    @tool_async("runs at once")
    async def run(self) -> dict:
        self.runs.append(self.current_conversation_id)
        return {"run": len(self.runs), "conversation": self.current_conversation_id}

    @tool_async("runs when it is let go")
    async def run_later(self) -> int:
        self.entered.set()
        await self.go.wait()
        self.runs.append(self.current_conversation_id)
        return len(self.runs)


def test_the_same_call_id_in_two_conversations_is_two_calls(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Counter) as (platform, agent):
            first, second = await platform.start_conversation("c1"), await platform.start_conversation("c2")
            one = await platform.call(first.id, "run", call_id="same")
            two = await platform.call(second.id, "run", call_id="same")
            assert (one.result["conversation"], two.result["conversation"]) == ("c1", "c2")
            assert agent.runs == ["c1", "c2"]
            assert platform.misrouted == ()

    asyncio.run(scenario())


def test_the_same_call_id_in_flight_in_two_conversations_is_two_calls(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Counter) as (platform, agent):
            ids = [(await platform.start_conversation()).id for _ in range(2)]
            calls = [asyncio.create_task(platform.call(one, "run_later", call_id="same")) for one in ids]
            await agent.entered.wait()
            await platform.call(ids[1], "run")
            agent.go.set()
            await asyncio.gather(*calls)
            assert sorted(agent.runs[1:]) == sorted(ids)

    asyncio.run(scenario())


def test_a_redelivered_call_gets_its_first_answer_without_running_again(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Counter) as (platform, agent):
            conv = await platform.start_conversation()
            await platform.call(conv.id, "run", call_id="c")
            await platform.redeliver("c")
            first, second = await platform.wait_for_responses("c", count=2)
            assert first == second
            assert agent.runs == [conv.id]

    asyncio.run(scenario())


def test_a_duplicate_of_a_running_call_is_neither_run_nor_answered_twice(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Counter) as (platform, agent):
            conv = await platform.start_conversation()
            call = asyncio.create_task(platform.call(conv.id, "run_later", call_id="slow"))
            await agent.entered.wait()
            await platform.redeliver("slow")
            # Messages arrive in order: when this one is answered, the duplicate has been seen.
            await platform.call(conv.id, "run")
            agent.go.set()
            assert (await call).result == 2
            await platform.call(conv.id, "run")
            assert len(platform.responses("slow")) == 1
            assert len(agent.runs) == 3

    asyncio.run(scenario())


@asynccontextmanager
async def owner_and_other(url: str, prefix: str) -> AsyncIterator[tuple[LocalPlatform, Counter, Counter]]:
    """Two agents that were told of "c1", which the first one owns."""
    async with stores(url, prefix) as opened, LocalPlatform() as platform:
        owner, other = [Counter(api_key="key", platform_url=platform.url, **opened) for _ in range(2)]
        for agent in (owner, other):
            await agent.start()
        try:
            await platform.start_conversation("c1", to=["agent-1"])
            await platform.start_conversation("c1", to=["agent-2"])
            yield platform, owner, other
        finally:
            for agent in (owner, other):
                await agent.stop()


def test_a_call_that_an_agent_is_handed_which_does_not_own_the_conversation_is_left_to_the_owner(
    url: str, prefix: str
) -> None:
    async def scenario() -> None:
        async with owner_and_other(url, prefix) as (platform, owner, other):
            handed = {"call_id": "x", "agent": "agent-2", "tool_timeout": 1.0}
            call = asyncio.create_task(platform.call("c1", "run", **handed))
            # Messages are handled in order: the agent that answers this has had the other call, and is through with it
            # when that one's time is up.
            await platform.call("c2", "run", agent="agent-2")
            await asyncio.gather(*other._tool_tasks.values())
            assert platform.responses("x") == ()
            await platform.redeliver("x", agent="agent-1")
            assert (await call).agent == "agent-1"
            # Once there is an answer, every agent repeats it.
            await platform.redeliver("x", agent="agent-2")
            first, second = await platform.wait_for_responses("x", count=2)
            assert (first.agent, second.agent) == ("agent-1", "agent-2")
            assert first.result == second.result == {"run": 1, "conversation": "c1"}
            assert (owner.runs, other.runs) == (["c1"], ["c2"])

    asyncio.run(scenario())


def test_a_call_that_runs_in_the_owner_is_waited_for_where_it_is_redelivered(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with owner_and_other(url, prefix) as (platform, owner, other):
            call = asyncio.create_task(platform.call("c1", "run_later", call_id="x"))
            await owner.entered.wait()
            await platform.redeliver("x", agent="agent-2")
            await platform.call("c2", "run", agent="agent-2")
            assert platform.responses("x") == ()
            owner.go.set()
            assert (await call).result == 1
            answers = await platform.wait_for_responses("x", count=2)
            assert {(one.agent, one.result) for one in answers} == {("agent-1", 1), ("agent-2", 1)}
            assert (owner.runs, other.runs) == (["c1"], ["c2"])

    asyncio.run(scenario())


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    price: Decimal


MOMENT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
LOOP: list[Any] = []
LOOP.append(LOOP)

RESULTS: dict[str, Any] = {
    "rich": {
        "price": Decimal("19.90"),
        "at": MOMENT,
        "day": date(2025, 1, 2),
        "id": UUID(int=1),
        "tags": {"a"},
        "pair": (1, 2.5),
        "colour": Colour.RED,
        "wait": timedelta(seconds=1.5),
        "line": Line("s", Decimal("1")),
        3: None,
        UUID(int=2): True,
    },
    "socket": {"inner": [1, threading.Lock()]},
    "nan": [float("nan")],
    "key": {(1, 2): 3},
    "cycle": LOOP,
}
RICH_AS_JSON = {
    "price": "19.90",
    "at": "2025-01-02T03:04:05+00:00",
    "day": "2025-01-02",
    "id": str(UUID(int=1)),
    "tags": ["a"],
    "pair": [1, 2.5],
    "colour": "red",
    "wait": 1.5,
    "line": {"sku": "s", "price": "1"},
    "3": None,
    str(UUID(int=2)): True,
}


class Troubled(StatefulAgent):
    @tool_async("returns things that JSON knows, and others")
    async def give(self, what: str) -> object:
        return RESULTS[what]

    @tool("fails")
    def fail(self) -> None:
        raise LookupError("no such product")

    @tool_async("never returns")
    async def hang(self) -> None:
        await asyncio.Event().wait()

    @tool_async("cancels itself")
    async def give_up(self) -> None:
        raise asyncio.CancelledError


def test_rich_results_reach_the_platform_as_json_and_the_callback_as_they_are(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Troubled) as (platform, agent):
            completed: list[Any] = []
            agent.on_tool_completed(lambda call_id, result: completed.append((call_id, result)))
            conv = await platform.start_conversation()
            answer = await platform.call(conv.id, "give", {"what": "rich"}, call_id="c")
            assert answer.result == RICH_AS_JSON
            await platform.call(conv.id, "give", {"what": "rich"})
            assert completed[0][0] == "c"
            assert completed[0][1] is RESULTS["rich"]
            assert [one.id for one in platform.agents] == ["agent-1"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("what", "named"),
    [("socket", r"_thread.lock at \$.inner\[1\]"), ("nan", "float"), ("key", "tuple"), ("cycle", "contains itself")],
)
def test_a_result_that_json_cannot_carry_is_answered_as_an_error_and_cuts_nothing(
    serving: Serving, what: str, named: str
) -> None:
    async def scenario() -> None:
        async with serving(Troubled) as (platform, _):
            conv = await platform.start_conversation()
            with pytest.raises(ToolCallFailed, match=named):
                await platform.call(conv.id, "give", {"what": what})
            assert (await platform.call(conv.id, "give", {"what": "rich"})).agent == "agent-1"
            assert [one.id for one in platform.agents] == ["agent-1"]
            assert platform.malformed_frames == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("tool_name", "arguments", "message"),
    [
        ("fail", {}, "no such product"),
        ("hang", {}, "Tool execution timed out"),
        ("give_up", {}, "cancelled"),
        ("nothing", {}, "not found"),
        ("give", {"wrong": 1}, "unexpected keyword"),
        ("give", [1], "arguments must be an object, not list"),
    ],
)
def test_a_call_that_fails_is_answered_with_the_reason(
    serving: Serving, tool_name: str, arguments: Any, message: str
) -> None:
    async def scenario() -> None:
        async with serving(Troubled) as (platform, _):
            conv = await platform.start_conversation()
            with pytest.raises(ToolCallFailed) as caught:
                await platform.call(conv.id, tool_name, arguments, tool_timeout=0.2)
            assert message in caught.value.message

    asyncio.run(scenario())


def test_a_request_without_a_tool_name_is_answered_under_its_conversation(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Troubled) as (platform, _):
            await platform.start_conversation("c1")
            await platform.send("tool_call_request", {"call_id": "x", "conversation_id": "c1"})
            (response,) = await platform.wait_for_responses("x")
            assert (response.conversation_id, response.error) == ("c1", "Missing call_id or tool_name")

    asyncio.run(scenario())


def test_a_failed_call_is_remembered_like_any_other(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Troubled) as (platform, _):
            conv = await platform.start_conversation()
            with pytest.raises(ToolCallFailed):
                await platform.call(conv.id, "fail", call_id="c")
            await platform.redeliver("c")
            first, second = await platform.wait_for_responses("c", count=2)
            assert first == second

    asyncio.run(scenario())


def test_an_agent_that_was_cut_off_rejoins_with_its_conversations_and_memory(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Counter) as (platform, agent):
            conv = await platform.start_conversation()
            await platform.call(conv.id, "run", call_id="before")
            await platform.drop("agent-1")
            (again,) = await platform.wait_for_agents(1)
            await platform.start_conversation(conv.id)
            await platform.redeliver("before", agent=again)
            first, second = await platform.wait_for_responses("before", count=2)
            assert (first.agent, second.agent) == ("agent-1", "agent-2")
            assert first.result == second.result
            assert agent.runs == [conv.id]

    asyncio.run(scenario())
