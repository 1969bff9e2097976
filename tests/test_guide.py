"""The guide's own classes do what the guide says, with two agents: one serves, and when it leaves the other goes on."""

import asyncio
import sqlite3
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import guide_agents
import pytest
import redis
from agent_serving import processes, stores

from redstate import Limits, Store
from redstate.conversimple import StatefulAgent
from redstate.errors import TooLarge
from redstate.testing import LocalPlatform, ToolCallFailed
from redstate.testing.proxy import FaultProxy


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as opened:
        yield opened


@pytest.fixture
def environment(url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the guide's agents find a server and a database of their own. Yields what its ids have to begin with."""
    monkeypatch.setenv("GUIDE_REDIS_URL", url)
    monkeypatch.setenv("GUIDE_DATABASE", str(tmp_path / "conversations.db"))
    yield prefix
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"*:{prefix}-*"):
            client.delete(key)


class Pair:
    """Two agents of a class, each with stores of its own, on one platform; the first serves what ``start`` starts."""

    def __init__(self, platform: LocalPlatform, agents: list[Any]) -> None:
        self.platform = platform
        self.first, self.second = self.agents = agents
        self.errors: list[Any] = []
        for agent in agents:
            agent.on_error(lambda kind, message, details: self.errors.append(details["exception"]))

    async def start(self, conversation_id: str) -> None:
        await start(self.platform, conversation_id, registrations=int(bool(self.first.registered_tools)))

    async def ask(self, conversation_id: str, name: str, **arguments: Any) -> Any:
        return (await self.platform.call(conversation_id, name, arguments)).result

    async def hand_over(self) -> None:
        """Have the first one leave what it serves to the second one."""
        await self.first.stop()

    async def end(self, conversation_id: str) -> None:
        """Tell both agents, and wait until their hooks are through."""
        await self.platform.end_conversation(conversation_id, to=self.platform.agents)
        # Messages are handled in order: who serves another conversation has heard of the ending.
        for joined in self.platform.agents:
            await self.platform.start_conversation(to=[joined], registrations=int(bool(self.first.registered_tools)))
        for agent in self.agents:
            await agent.stop()


async def start(platform: LocalPlatform, conversation_id: str, registrations: int = 1) -> None:
    """Tell the agent that joined first of a conversation, so that it serves it, and then all."""
    await platform.start_conversation(conversation_id, to=["agent-1"], registrations=registrations)
    await platform.start_conversation(conversation_id, registrations=registrations)


@asynccontextmanager
async def pair(agent_class: type[StatefulAgent], url: str, prefix: str) -> AsyncIterator[Pair]:
    async with LocalPlatform() as platform, stores(url, prefix, 1.0) as one, stores(url, prefix, 1.0) as two:
        agents = [agent_class(api_key="key", platform_url=platform.url, **opened) for opened in (one, two)]
        for agent in agents:
            await agent.start()
        try:
            yield Pair(platform, agents)
        finally:
            for agent in agents:
                await agent.stop()


@asynccontextmanager
async def two_processes(name: str, url: str, prefix: str) -> AsyncIterator[tuple[LocalPlatform, Process]]:
    """Yield a platform and the process that serves what ``start`` starts; there is another one beside it."""
    target = f"guide_agents:{name}"
    async with LocalPlatform() as platform, processes(platform, target, 1, url, prefix) as [first]:
        async with processes(platform, target, 1, url, prefix):
            yield platform, first


# State of a conversation, in hooks and tools, and the session ---------------------------------------------------------


def test_a_shop_with_login_in_two_processes(url: str, prefix: str, store: Store) -> None:
    async def scenario() -> None:
        async with two_processes("ShopWithLogin", url, prefix) as (platform, first):

            async def ask(name: str, **arguments: Any) -> Any:
                return (await platform.call("c1", name, arguments)).result

            async def add(count: int) -> list[Any]:
                return await asyncio.gather(*[ask("add_to_cart", product_id=f"p{n}", quantity=2) for n in range(count)])

            await start(platform, "c1")
            assert await ask("add_to_cart", product_id="a") == {"error": "Please log in first"}
            refused = {"success": False, "error": "Invalid credentials"}
            assert await ask("login", username="ada", password="wrong") == refused
            logged_in = {"success": True, "user": "ada"}
            assert await ask("login", username="ada", password="open sesame") == logged_in
            answers = await add(20)
            assert {answer["success"] for answer in answers} == {True}
            assert max(answer["cart_size"] for answer in answers) == 20
            # Some of these are under way when the process dies, and each is carried out once all the same.
            adding = asyncio.create_task(add(20))
            before = await ask("get_cart_total")
            assert 20 <= before["items"] <= 40
            first.kill()
            await first.wait()
            assert {answer["success"] for answer in await adding} == {True}
            assert await ask("get_cart_total") == {"total": 0, "items": 40}
            assert [agent.id for agent in platform.agents] == ["agent-2"]
            state = store.conversation("c1").state.all()
            assert isinstance(state["created_at"], datetime)
            assert isinstance(state["cart"][0]["added_at"], datetime)
            assert sorted(line["product_id"] for line in state["cart"]) == sorted([f"p{n}" for n in range(20)] * 2)
            # Starting again resets nothing.
            await platform.start_conversation("c1")
            assert await ask("logout") == {"success": True}
            assert await ask("add_to_cart", product_id="a") == {"error": "Please log in first"}
            await platform.end_conversation("c1")
            await platform.end_conversation("c1", to=platform.agents)

    asyncio.run(scenario())
    # It was taken out, and kept by persist_conversation().
    kept = store.load_state("c1")
    assert (len(kept["cart"]), kept["username"], kept["authenticated"]) == (40, "ada", False)
    assert "open sesame" not in str(kept)


# Workflow -------------------------------------------------------------------------------------------------------------


def test_the_guides_booking_never_becomes_ready_and_says_so(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with pair(guide_agents.WorkflowAgent, url, prefix) as both:
            await both.start("c1")
            incomplete = {"error": "Please complete all booking details first"}
            assert await both.ask("c1", "confirm_booking") == incomplete
            assert both.second.get_state("c1") == {"workflow_step": "initial", "workflow_data": {}}
            assert await both.ask("c1", "start_booking") == {"message": "When would you like to book?"}
            await both.hand_over()
            dates = await both.ask("c1", "set_dates", check_in="2025-05-01", check_out="2025-05-03")
            assert dates == {"message": "How many guests?"}
            assert await both.ask("c1", "confirm_booking") == incomplete
            assert both.first.get_state("c1") == {
                "workflow_step": "collecting_guests",
                "workflow_data": {"check_in": "2025-05-01", "check_out": "2025-05-03"},
            }

    asyncio.run(scenario())


def test_a_booking_that_asks_for_the_guests_completes_in_two_processes(url: str, prefix: str, store: Store) -> None:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("start_booking", {}),
        ("set_dates", {"check_in": "2025-05-01", "check_out": "2025-05-03"}),
        ("set_guests", {"guests": 2}),
    ]

    async def scenario() -> None:
        async with two_processes("CompleteWorkflowAgent", url, prefix) as (platform, first):
            await start(platform, "c1")
            for name, arguments in steps[:2]:
                assert (await platform.call("c1", name, arguments)).agent == "agent-1"
            assert first.stdin is not None
            first.stdin.close()
            for name, arguments in steps[2:]:
                await platform.call("c1", name, arguments)
            booked = await platform.call("c1", "confirm_booking")
            assert booked.agent == "agent-2"
            assert booked.result == {"success": True, "booking_id": "2025-05-01/2025-05-03"}

    asyncio.run(scenario())
    assert store.load_state("c1") == {
        "workflow_step": "completed",
        "workflow_data": {"check_in": "2025-05-01", "check_out": "2025-05-03", "guests": 2},
        "booking_id": "2025-05-01/2025-05-03",
    }


# Cache ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agent_class", "shared"), [("CachedAgent", False), ("SharedCacheAgent", True)])
def test_a_product_is_loaded_once_by_each_agent_or_by_both(
    url: str, prefix: str, agent_class: str, shared: bool
) -> None:
    product = {"id": "P1", "price": 5}

    async def scenario() -> None:
        async with pair(getattr(guide_agents, agent_class), url, prefix) as both:
            loads = guide_agents.database.loads
            await both.start("c1")
            assert await both.ask("c1", "get_product", product_id="P1") == product
            assert await both.ask("c1", "get_product", product_id="P1") == {**product, "cached": True}
            await both.hand_over()
            other = await both.ask("c1", "get_product", product_id="P1")
            assert other == ({**product, "cached": True} if shared else product)
            assert guide_agents.database.loads == loads + (1 if shared else 2)

    asyncio.run(scenario())


# Storage of its own ---------------------------------------------------------------------------------------------------


def test_a_conversation_is_in_the_guides_database_when_it_has_ended(url: str, prefix: str, environment: str) -> None:
    async def scenario() -> None:
        async with pair(guide_agents.PersistentAgent, url, prefix) as both:
            await both.start("c1")
            both.first.update_state("c1", customer_id="ada", cart=[{"sku": "a"}])
            both.second.get_state("c1")["cart"].append({"sku": "b"})
            assert both.first.load_state("c1") == {}
            await both.end("c1")
            assert both.errors == []
            for agent in both.agents:
                assert agent.load_state("c1") == {"customer_id": "ada", "cart": [{"sku": "a"}, {"sku": "b"}]}
            rows = both.first.db.execute("SELECT conversation_id, customer_id FROM conversation_state").fetchall()
            assert rows == [("c1", "ada")]
            for agent in both.agents:
                agent.db.close()

    asyncio.run(scenario())


def test_a_database_that_only_its_own_thread_may_use_is_reported_not_swallowed(
    url: str, prefix: str, environment: str, tmp_path: Path
) -> None:
    class AsTheGuideHasIt(guide_agents.PersistentAgent):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.db.close()
            self.db = sqlite3.connect(tmp_path / "conversations.db")

    async def scenario() -> None:
        async with pair(AsTheGuideHasIt, url, prefix) as both:
            await both.start("c1")
            await both.end("c1")
            assert [type(error) for error in both.errors] == [sqlite3.ProgrammingError]
            for agent in both.agents:
                agent.db.close()

    asyncio.run(scenario())


# redis-py has deprecated the method that the guide calls.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_an_agent_with_its_own_redis_saves_and_loads_there(
    url: str, prefix: str, environment: str, store: Store
) -> None:
    conversation_id, customer_id = f"{environment}-c1", f"{environment}-ada"

    async def scenario() -> None:
        async with pair(guide_agents.RedisAgent, url, prefix) as both:
            await both.start(conversation_id)
            both.first.update_state(conversation_id, cart=[{"sku": "a"}], step="greeting")
            both.first.save_state(conversation_id, both.first.get_state(conversation_id))
            assert both.second.load_state(conversation_id) == {"cart": [{"sku": "a"}], "step": "greeting"}
            assert both.second.load_state(f"{environment}-unknown") == {}
            assert 86_000 < both.first.redis.ttl(f"conversation:{conversation_id}") <= 86_400
            history = await both.ask(conversation_id, "get_customer_history", customer_id=customer_id)
            assert history == {"orders": [], "preferences": {}}
            both.first.redis.set(f"customer:{customer_id}", '{"orders": ["o1"]}')
            await both.hand_over()
            history = await both.ask(conversation_id, "get_customer_history", customer_id=customer_id)
            assert history == {"orders": ["o1"]}
            # What the base class keeps for its own is not touched by it.
            assert store.load_state(conversation_id) == {"cart": [{"sku": "a"}], "step": "greeting"}
            for agent in both.agents:
                agent.redis.close()

    asyncio.run(scenario())


# Customers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent_class", ["CustomerStateAgent", "DecodingCustomerAgent"])
def test_a_customer_is_known_in_the_next_conversation(
    url: str, prefix: str, environment: str, store: Store, agent_class: str
) -> None:
    customer_id, ids = f"{environment}-ada", ["c1", "c2"]
    decodes = agent_class == "DecodingCustomerAgent"
    seen: list[Any] = []

    async def one(conversation_id: str) -> list[Any]:
        async with pair(getattr(guide_agents, agent_class), url, prefix) as both:
            await both.start(conversation_id)
            seen.append(await both.ask(conversation_id, "get_customer_context", customer_id=customer_id))
            assert both.second.get_state(conversation_id)["customer_id"] == customer_id
            await both.end(conversation_id)
            return both.errors

    assert asyncio.run(one("c1")) == []
    errors = asyncio.run(one("c2"))
    # As the guide has it the profile comes back as text, and the second conversation cannot change it.
    assert [type(error) for error in errors] == ([] if decodes else [TypeError])
    assert seen[0] is None
    assert "c1" in (seen[1]["last_conversation"] if decodes else seen[1])
    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert ("c2" if decodes else "c1") in client.get(f"customer:{customer_id}")
    # redstate merges on its own account as well, once for each conversation.
    customer = store.customer(customer_id)
    assert customer.get("last_conversation") == "c2"
    assert sorted(linked.id for linked in customer.conversations()) == ids


# Best practices -------------------------------------------------------------------------------------------------------


def test_state_of_references_is_small_and_a_whole_catalogue_is_refused(url: str, prefix: str, store: Store) -> None:
    agent = StatefulAgent(api_key="key", store=store)
    agent.update_state("c1", selected_product_ids=["P123", "P456"], recent_order_id="ORD789")
    with pytest.raises(TooLarge) as caught:
        agent.update_state("c1", entire_product_catalog="x" * (Limits().max_value_bytes + 1))
    assert caught.value.path == "entire_product_catalog"
    assert agent.get_state("c1") == {"selected_product_ids": ["P123", "P456"], "recent_order_id": "ORD789"}


def test_cleaning_up_keeps_what_is_important_and_removes_the_rest(url: str, prefix: str, store: Store) -> None:
    async def scenario() -> None:
        async with pair(guide_agents.TidyAgent, url, prefix) as both:
            for conversation_id, customer_id in (("c1", "ada"), ("c2", None)):
                await both.start(conversation_id)
                both.first.update_state(conversation_id, customer_id=customer_id, cart=["sku"])
            await both.platform.end_conversation("c2", to=both.platform.agents)
            await both.end("c1")
            assert both.errors == []
            for agent in both.agents:
                assert list(agent.conversations) == []

    asyncio.run(scenario())
    assert not any(store.conversation(one).exists() for one in ("c1", "c2"))
    assert [one.id for one in store.customer("ada").conversations()] == ["c1"]


def test_a_tool_that_handles_state_errors_answers_while_the_store_is_down(
    server: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with FaultProxy(server.url) as proxy:
            async with pair(guide_agents.CarefulAgent, proxy.url, prefix) as both:

                def go_down(call: Any) -> None:
                    proxy.refuse()
                    proxy.cut()

                both.first.update_state("c1", cart=["sku"])
                await both.start("c1")
                assert await both.ask("c1", "get_cart") == {"cart": ["sku"]}
                # When this is called the call has begun, and the tool has not.
                both.first.on_tool_called(go_down)
                assert await both.ask("c1", "get_cart") == {"cart": [], "error": "Could not load cart"}
                # A call that comes now waits for the store.
                both.first.on_tool_called(lambda call: None)
                waiting = asyncio.create_task(both.ask("c1", "get_cart"))
                with pytest.raises(ToolCallFailed, match="in the store"):
                    await both.platform.call("c1", "get_cart", tool_timeout=0.1)
                assert not waiting.done()
                proxy.heal()
                assert await waiting == {"cart": ["sku"]}

    asyncio.run(scenario())
    assert caplog.text.count("Error getting cart") == 1
