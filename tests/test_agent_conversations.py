"""The names of the guide on the agent: conversations, state, saving and loading, caching, customers."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agent_serving import Serving, serving_on
from conversimple import tool
from conversimple.tools import discover_tools

from redstate import Store
from redstate.conversimple import StatefulAgent
from redstate.conversimple._binding import Binding, bound
from redstate.errors import ConfigurationError, InvalidId, InvalidTTL

MOMENT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as opened:
        yield opened


@pytest.fixture
def serving(url: str, prefix: str) -> Serving:
    return serving_on(url, prefix)


@pytest.fixture
def agent(store: Store) -> StatefulAgent:
    return StatefulAgent(api_key="key", store=store)


@pytest.fixture
def other(store: Store) -> StatefulAgent:
    return StatefulAgent(api_key="key", store=store)


class Before(StatefulAgent):
    def __init__(self, **options: Any) -> None:
        self.conversations = {}
        super().__init__(**options)


class After(StatefulAgent):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.conversations = {}
        self.cache: dict[str, Any] = {}
        self.cache_ttl = timedelta(minutes=5)


# Conversations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent_class", [Before, After])
def test_an_empty_dict_assigned_in_the_constructor_takes_nothing_away(
    agent_class: type[StatefulAgent], agent: StatefulAgent, store: Store
) -> None:
    agent.update_state("c1", cart=["sku"])
    later = agent_class(api_key="key", store=store)
    later.conversations["c1"]["cart"].append("other")
    assert agent.conversations["c1"] == {"cart": ["sku", "other"]}


def test_a_conversation_is_the_live_state_in_every_agent(agent: StatefulAgent, other: StatefulAgent) -> None:
    agent.conversations["c1"] = {"cart": [], "at": MOMENT}
    state = other.conversations["c1"]
    state["cart"].append({"sku": "a"})
    state["cart"][0]["quantity"] = 2
    state["step"] = "greeting"
    assert agent.conversations["c1"] == {"cart": [{"sku": "a", "quantity": 2}], "at": MOMENT, "step": "greeting"}
    assert agent.conversations.get("c1") == state
    assert "c1" in agent.conversations
    assert isinstance(state, dict)


def test_assigning_replaces_the_whole_state(agent: StatefulAgent, other: StatefulAgent) -> None:
    agent.conversations["c1"] = {"old": 1, "both": 1}
    other.conversations["c1"] = {"both": 2}
    assert agent.get_state("c1") == {"both": 2}
    agent.conversations["c1"] = {}
    assert (other.get_state("c1"), "c1" in other.conversations) == ({}, True)


def test_assigning_does_not_go_through_the_users_own_way_of_saving(store: Store) -> None:
    class Archiving(StatefulAgent):
        def save_state(self, conversation_id: str, state: Any) -> None:
            raise AssertionError("this is for the end of a conversation")

    agent = Archiving(api_key="key", store=store)
    agent.conversations["c1"] = {"a": 1}
    assert agent.get_state("c1") == {"a": 1}


def test_in_the_started_hook_assigning_gives_what_is_not_there_yet(agent: StatefulAgent, store: Store) -> None:
    agent.update_state("c1", cart=["sku"])
    with bound(Binding(agent, "c1", starting=True)):
        agent.conversations["c1"] = {"cart": [], "step": "greeting"}
        agent.conversations["c2"] = {"cart": []}
        agent.conversations["c2"] = {}
    assert agent.get_state("c1") == {"cart": ["sku"], "step": "greeting"}
    assert agent.get_state("c2") == {}
    with bound(Binding(agent, "c3", starting=True)):
        agent.conversations["c3"] = {}
        assert "c3" in agent.conversations
        agent.conversations["c3"]["step"] = "greeting"
    assert agent.get_state("c3") == {"step": "greeting"}


def test_changing_a_conversation_in_place_keeps_what_others_write_meanwhile(
    agent: StatefulAgent, other: StatefulAgent
) -> None:
    agent.conversations["c1"] = {"a": 1}

    # The three steps of ``agent.conversations["c1"] |= {"b": 2}``.
    state = agent.conversations["c1"]
    state |= {"b": 2}
    other.update_state("c1", theirs=1)
    agent.conversations["c1"] = state
    assert agent.get_state("c1") == {"a": 1, "b": 2, "theirs": 1}


def test_setdefault_gives_the_live_state(agent: StatefulAgent, other: StatefulAgent) -> None:
    agent.conversations.setdefault("c1", {"cart": []})["cart"].append("sku")
    agent.conversations.setdefault("c1", {"cart": ["none"], "more": 1})["step"] = "greeting"
    assert other.get_state("c1") == {"cart": ["sku"], "step": "greeting"}
    assert agent.conversations.setdefault("c2") == {}
    assert "c2" in other.conversations


def test_pop_takes_a_conversation_out_and_returns_it_as_plain_data(agent: StatefulAgent, other: StatefulAgent) -> None:
    agent.conversations["c1"] = {"cart": [{"sku": "a"}], "at": MOMENT}
    popped = other.conversations.pop("c1")
    assert popped == {"cart": [{"sku": "a"}], "at": MOMENT}
    assert [type(popped), type(popped["cart"]), type(popped["cart"][0])] == [dict, list, dict]
    assert "c1" not in agent.conversations
    assert agent.conversations.pop("c1", None) is None
    for missing in (lambda: agent.conversations.pop("c1"), lambda: agent.conversations["c1"]):
        with pytest.raises(KeyError, match="c1"):
            missing()
    with pytest.raises(KeyError):
        del agent.conversations["c1"]
    assert agent.conversations.get("c1", {}) == {}


def test_what_cannot_be_an_id_is_no_conversation_and_never_the_current_one(agent: StatefulAgent) -> None:
    agent.update_state("c1", a=1)
    with bound(Binding(agent, "c1")):
        for nobody in (None, "", 7):
            assert nobody not in agent.conversations
            assert agent.conversations.get(nobody, {}) == {}
            assert agent.conversations.pop(nobody, None) is None
            with pytest.raises(InvalidId):
                agent.conversations[nobody] = {"a": 2}
    assert agent.get_state("c1") == {"a": 1}


def test_iteration_goes_over_the_conversations_that_the_agent_serves(serving: Serving) -> None:
    class Listing(StatefulAgent):
        def on_conversation_started(self, conversation_id: str) -> None:
            self.conversations[conversation_id] = {"n": len(self.conversations)}

        @tool("lists")
        def list_all(self) -> dict:
            assert len(self.conversations) == len(list(self.conversations))
            return dict(self.conversations.items())

    async def scenario() -> None:
        async with serving(Listing) as (platform, agent):
            agent.conversation("elsewhere").state["a"] = 1
            for number in range(2):
                await platform.start_conversation(f"c{number}")
                await platform.call(f"c{number}", "list_all")
            assert (await platform.call("c0", "list_all")).result == {"c0": {"n": 0}, "c1": {"n": 1}}
            await platform.end_conversation("c1")
            assert (await platform.call("c0", "list_all")).result == {"c0": {"n": 0}}

    asyncio.run(scenario())


def test_live_state_goes_into_the_standard_json_module(agent: StatefulAgent) -> None:
    agent.conversations["c1"] = {"cart": [{"sku": "a", "n": 1}], "none": {}, "deep": {"er": [[1]]}, "price": 0.5}
    state = agent.conversations.get("c1", {})
    assert json.loads(json.dumps(state)) == state.copy()
    assert json.loads(json.dumps({"inside": state["cart"]}, indent=1)) == {"inside": [{"sku": "a", "n": 1}]}
    assert json.dumps(agent.get_state("unknown")) == "{}"


# State ----------------------------------------------------------------------------------------------------------------


def test_state_is_of_the_current_conversation_where_none_is_named(agent: StatefulAgent) -> None:
    agent.update_state("c1", step="greeting")
    assert agent.get_current_conversation_id() is None
    with pytest.raises(ConfigurationError):
        agent.get_state()
    with bound(Binding(agent, "c1")):
        assert agent.get_current_conversation_id() == agent.current_conversation_id == "c1"
        assert agent.get_state() == {"step": "greeting"}


def test_an_update_is_one_change_and_makes_the_conversation(agent: StatefulAgent, store: Store) -> None:
    agent.update_state("c1", step="greeting", turns=0)
    version = store.conversation("c1").version()
    agent.update_state("c1", step="buying", turns=1)
    assert agent.get_state("c1") == {"step": "buying", "turns": 1}
    with pytest.raises(ValueError, match="cannot be stored"):
        agent.update_state("c1", step="paying", bad=object())
    assert agent.get_state("c1")["step"] == "buying"
    assert store.conversation("c1").version() > version


def test_live_values_in_a_tools_result_arrive_as_plain_json(serving: Serving) -> None:
    class Showing(StatefulAgent):
        @tool("shows parts of the state")
        def show(self, what: str) -> Any:
            state = self.get_state()
            return {
                "state": state,
                "conversation": self.conversations[self.current_conversation_id],
                "list": state["cart"],
                "nested": {"in": [state["cart"][0], (state["turns"],)]},
                "number": state["turns"],
            }[what]

    line = {"sku": "a", "added_at": MOMENT.isoformat()}
    expected: dict[str, Any] = {
        "state": {"cart": [line], "turns": 3},
        "conversation": {"cart": [line], "turns": 3},
        "list": [line],
        "nested": {"in": [line, [3]]},
        "number": 3,
    }

    async def scenario() -> None:
        async with serving(Showing) as (platform, agent):
            agent.update_state("c1", cart=[{"sku": "a", "added_at": MOMENT}], turns=3)
            await platform.start_conversation("c1")
            for what, answer in expected.items():
                assert (await platform.call("c1", "show", {"what": what})).result == answer

    asyncio.run(scenario())


# Saving and loading ---------------------------------------------------------------------------------------------------


def test_saved_state_is_loaded_elsewhere_as_plain_data_and_lives_for_a_day(
    agent: StatefulAgent, other: StatefulAgent, store: Store
) -> None:
    agent.update_state("c1", old=1)
    agent.save_state("c1", {"cart": [1], "at": MOMENT})
    loaded = other.load_state("c1")
    assert loaded == {"cart": [1], "at": MOMENT}
    loaded["cart"].append(2)
    assert agent.load_state("c1")["cart"] == [1]
    assert agent.load_state("unknown") == {}
    ttl = store.conversation("c1").ttl()
    assert ttl is not None
    assert 86_300 < ttl <= 86_400


def test_persisting_saves_unless_it_is_overridden_as_either_is(store: Store) -> None:
    saved: list[Any] = []

    class Archiving(StatefulAgent):
        def save_state(self, conversation_id: str, state: Any) -> None:
            saved.append((conversation_id, dict(state)))

    Archiving(api_key="key", store=store).persist_conversation("c1", {"a": 1})
    StatefulAgent(api_key="key", store=store).persist_conversation("c2", {"a": 2})
    assert saved == [("c1", {"a": 1})]
    assert (store.load_state("c1"), store.load_state("c2")) == ({}, {"a": 2})


# Caching --------------------------------------------------------------------------------------------------------------


def test_what_one_agent_caches_another_gets(agent: StatefulAgent, other: StatefulAgent) -> None:
    assert other.get_cached("product:1") is None
    assert other.get_cached("product:1", "default") == "default"
    agent.set_cached("product:1", {"price": 2, "at": MOMENT})
    assert other.get_cached("product:1", "default") == {"price": 2, "at": MOMENT}


def test_the_attributes_that_the_guide_sets_choose_how_long_it_is_cached(store: Store) -> None:
    agent = After(api_key="key", store=store)
    for ttl in (timedelta(seconds=0.05), 0.05):
        agent.cache_ttl = ttl
        agent.set_cached("k", "v")
        while agent.get_cached("k") == "v":
            pass  # the server lets it go
        agent.cache_ttl = ttl * 10_000
        agent.set_cached("k", "v")
        assert agent.get_cached("k") == "v"
    agent.cache_ttl = 0
    with pytest.raises(InvalidTTL):
        agent.set_cached("k", "v")
    assert agent.cache == {}


# Customers ------------------------------------------------------------------------------------------------------------


class Knowing(StatefulAgent):
    @tool("what is known")
    def known(self, customer_id: str) -> dict:
        return self.get_customer_context(customer_id)


def test_what_is_known_of_a_customer_comes_into_the_next_conversation(serving: Serving) -> None:
    async def scenario() -> None:
        async with serving(Knowing) as (platform, agent):
            customer = agent._stores.for_threads().customer("ada")
            customer.update(tier="gold")
            await platform.start_conversation("c1")
            first = (await platform.call("c1", "known", {"customer_id": "ada"})).result
            assert first == {"tier": "gold", "conversations": []}
            state = agent.get_state("c1")
            assert (state["customer_id"], state["customer_data"]["tier"]) == ("ada", "gold")
            await platform.end_conversation("c1")
            await platform.start_conversation("c2")
            # Messages are handled in order, so the ending has begun.
            await agent._lifecycle.drain()
            second = (await platform.call("c2", "known", {"customer_id": "ada"})).result
            assert second["last_conversation"] == "c1"
            assert [one["id"] for one in second["conversations"]] == ["c1"]
            assert second["conversations"][0]["ended_at"] is not None

    asyncio.run(scenario())


def test_outside_a_call_what_is_known_is_only_returned(agent: StatefulAgent, store: Store) -> None:
    store.customer("ada").update(tier="gold")
    assert agent.get_customer_context("ada") == {"tier": "gold", "conversations": []}
    assert store.customer("ada").conversations() == []


@pytest.mark.parametrize("cleaning", ["nothing", "pops", "saves and pops"])
def test_an_ended_conversation_is_merged_once_whatever_the_hook_leaves_of_it(serving: Serving, cleaning: str) -> None:
    class Ending(StatefulAgent):
        def on_conversation_ended(self, conversation_id: str) -> None:
            state = self.conversations.get(conversation_id)
            if cleaning == "saves and pops":
                self.save_important_data(state)
            if cleaning != "nothing":
                self.conversations.pop(conversation_id, None)

    async def scenario() -> None:
        async with serving(Ending) as (platform, agent):
            agent.update_state("c1", customer_id="ada")
            agent.update_state("c2", customer_id=7)
            for one in ("c1", "c2"):
                await platform.start_conversation(one, registrations=0)
                await platform.end_conversation(one)
            await agent.stop()
            customer = agent._stores.for_threads().customer("ada")
            assert customer.get("last_conversation") == "c1"
            assert [(one.id, one.ended_at is not None) for one in customer.conversations()] == [("c1", True)]
            assert customer.merge_conversation("c1") is False
            assert ("c1" in agent.conversations) == (cleaning == "nothing")

    asyncio.run(scenario())


def test_important_data_without_a_customer_or_a_conversation_is_left_alone(agent: StatefulAgent, store: Store) -> None:
    agent.save_important_data({"customer_id": "ada"})
    with bound(Binding(agent, "c1")):
        agent.save_important_data({})
        assert not store.customer("ada").exists()
        agent.save_important_data({"customer_id": "ada"})
    assert store.customer("ada").get("last_conversation") == "c1"


# All of it ------------------------------------------------------------------------------------------------------------


def test_an_agent_costs_nothing_until_it_serves() -> None:
    with Store.from_url("redis://127.0.0.1:1") as nowhere:
        agent = After(api_key="key", store=nowhere)
        assert {method.__name__ for method, _ in discover_tools(agent)} == set()
        assert repr(agent.conversations) == "<Conversations of After>"
        assert agent.known_conversations() == []
        assert len(agent.conversations) == 0
