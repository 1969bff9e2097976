"""State of conversations, as tools and hooks of real SDK agents read and change it."""

import asyncio
from collections.abc import Iterator

import pytest
from conversimple import tool, tool_async

from redstate import AsyncStore, Store
from redstate.conversimple import StatefulAgent, _stores
from redstate.errors import ConfigurationError, InvalidField, InvalidId
from redstate.testing import LocalPlatform


class Shop(StatefulAgent):
    """The guide's agent: state in hooks and tools, sync and async."""

    def on_conversation_started(self, conversation_id: str) -> None:
        self.update_state(conversation_id, step="greeting", turns=0)

    async def on_conversation_ended(self, conversation_id: str) -> None:
        await self.aupdate_state(conversation_id, step="over")

    @tool("counts a turn in a thread")
    def turn(self) -> int:
        return self.conversation().state.increment("turns")

    @tool_async("counts a turn on the loop")
    async def turn_async(self) -> int:
        return await self.async_conversation().state.increment("turns")

    @tool("reads in a thread")
    def read(self) -> dict:
        return self.get_state()

    @tool_async("reads on the loop")
    async def read_async(self) -> dict:
        return await self.aget_state()


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as opened:
        yield opened


def test_sync_and_async_tools_change_one_state_and_lose_nothing(store: Store, url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as async_store, LocalPlatform() as platform:
            agents = [
                Shop(api_key="key", platform_url=platform.url, store=store, async_store=async_store) for _ in range(2)
            ]
            for agent in agents:
                await agent.start()
            ids = [(await platform.start_conversation()).id for _ in range(3)]
            turns = [(one, name) for one in ids for name in ("turn", "turn_async") for _ in range(10)]
            await asyncio.gather(*[platform.call(one, name) for one, name in turns])
            for conversation_id in ids:
                expected = {"step": "greeting", "turns": 20}
                assert (await platform.call(conversation_id, "read")).result == expected
                assert (await platform.call(conversation_id, "read_async")).result == expected
                await platform.end_conversation(conversation_id)
            for agent in agents:
                await agent.stop()

    asyncio.run(scenario())
    assert store.conversation("unknown").exists() is False


def test_the_state_outlives_the_agent_and_is_alive_in_every_other(store: Store) -> None:
    first, later = Shop(api_key="key", store=store), Shop(api_key="key", store=store)
    first.update_state("c1", cart=["sku"])
    state = later.get_state("c1")
    assert isinstance(state, dict)
    assert state == {"cart": ["sku"]}
    state["cart"].append("other")
    state["more"] = 1
    assert first.get_state("c1") == {"cart": ["sku", "other"], "more": 1}
    first.update_state("c1", more=2)
    assert state["more"] == 2
    assert later.get_state("unknown") == {}


def test_the_state_for_async_tools_is_a_copy(store: Store, url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(url, key_prefix=prefix) as async_store:
            agent = Shop(api_key="key", async_store=async_store)
            await agent.aupdate_state("c1", cart=["sku"])
            (await agent.aget_state("c1"))["cart"].append("other")
            assert await agent.aget_state("c1") == {"cart": ["sku"]}

    asyncio.run(scenario())


def test_without_a_conversation_the_way_out_is_named(store: Store) -> None:
    agent = Shop(api_key="key", store=store)
    for access in (agent.conversation, agent.get_state):
        with pytest.raises(ConfigurationError, match="conversation_id="):
            access()


def test_a_store_of_one_colour_does_not_stand_in_for_the_other(store: Store, url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="Pass async_store="):
            Shop(api_key="key", store=store).async_conversation("c1")
        async with AsyncStore.from_url(url) as async_store:
            with pytest.raises(ConfigurationError, match="Pass store="):
                Shop(api_key="key", async_store=async_store).conversation("c1")

    asyncio.run(scenario())


def test_by_default_all_agents_of_a_process_share_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = _stores.SharedStores()
    monkeypatch.setattr(_stores, "shared", shared)

    async def scenario() -> None:
        first, second = Shop(api_key="key"), Shop(api_key="key")
        await asyncio.to_thread(first.update_state, "c1", by="thread")
        await second.aupdate_state("c1", also="loop")
        assert await second.aget_state("c1") == {"by": "thread", "also": "loop"}
        assert await asyncio.to_thread(second.get_state, "c1") == {"by": "thread", "also": "loop"}
        assert shared.for_loop() is shared.for_loop()
        await shared.for_loop().close()

    asyncio.run(scenario())
    assert shared.for_threads() is shared.for_threads()
    shared.for_threads().close()


def test_the_environment_names_the_default_server_and_settings(
    monkeypatch: pytest.MonkeyPatch, store: Store, url: str, prefix: str
) -> None:
    shared = _stores.SharedStores()
    monkeypatch.setattr(_stores, "shared", shared)
    monkeypatch.setenv("REDSTATE_URL", url)
    monkeypatch.setenv("REDSTATE_KEY_PREFIX", prefix)
    Shop(api_key="key").update_state("c1", at="the server that was named")
    shared.for_threads().close()
    assert store.conversation("c1").state.all() == {"at": "the server that was named"}


def test_an_update_takes_a_mapping_or_keywords_and_means_the_current_conversation(store: Store) -> None:
    agent = Shop(api_key="key", store=store)
    agent.update_state("a", {"values": 1, "x": 1}, x=2)
    agent.update_state(conversation_id="a", y=3)
    with agent.serving("a"):
        assert agent.current_conversation_id == "a"
        agent.update_state(z=4)
    assert store.load_state("a") == {"values": 1, "x": 2, "y": 3, "z": 4}
    assert agent.current_conversation_id is None
    with pytest.raises(InvalidField):
        agent.update_state("a", 5)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match=r"^StatefulAgent\.save_state"):
        agent.save_state("a")  # type: ignore[call-arg]  # on purpose


def test_a_tool_can_be_called_by_hand(store: Store) -> None:
    agent = Shop(api_key="key", store=store)
    with agent.serving("a"):
        assert (agent.turn(), agent.turn(), agent.read()) == (1, 2, {"turns": 2})
    with pytest.raises(InvalidId), agent.serving(""):
        pass


def test_the_current_conversation_can_be_set_to_what_it_is_and_to_nothing_else(store: Store) -> None:
    agent = Shop(api_key="key", store=store)
    agent.current_conversation_id = None
    with agent.serving("a"):
        agent.current_conversation_id = "a"
        with pytest.raises(AttributeError, match=r"agent\.serving"):
            agent.current_conversation_id = "b"
        agent.current_conversation_id = None
        assert agent.current_conversation_id == "a"
