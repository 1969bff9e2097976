"""Hooks run once per conversation, in one of the processes that serve it; tool calls wait for them in all."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from agent_serving import processes

from redstate import Store
from redstate.testing import LocalPlatform


class Notes:
    """What the agents of all processes noted, in order."""

    def __init__(self, url: str, prefix: str) -> None:
        self._server = redis.Redis.from_url(url, decode_responses=True)
        self._prefix = prefix

    def all(self) -> list[list[str]]:
        return [note.split() for note in self._server.lrange(f"{self._prefix}:notes", 0, -1)]

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((event, conversation_id) for event, conversation_id, _ in self.all())

    def open_gate(self) -> None:
        self._server.rpush(f"{self._prefix}:gate", "go")

    async def until(self, event: str, conversation_id: str) -> int:
        """Wait until it is noted; returns the process."""
        async with asyncio.timeout(30):
            while True:
                for noted, where, process in await asyncio.to_thread(self.all):
                    if (noted, where) == (event, conversation_id):
                        return int(process)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def notes(url: str, prefix: str) -> Iterator[Notes]:
    notes = Notes(url, prefix)
    yield notes
    notes.close()


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as opened:
        yield opened


async def turn_everywhere(platform: LocalPlatform, conversation_id: str) -> list[Any]:
    calls = [platform.call(conversation_id, "turn", agent=agent) for agent in platform.agents]
    return sorted(answer.result for answer in await asyncio.gather(*calls))


async def first_departure(platform: LocalPlatform) -> None:
    leaving = [asyncio.create_task(platform.wait_for_departure(agent, 30)) for agent in platform.agents]
    await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
    for task in leaving:
        task.cancel()


def test_hooks_run_once_however_many_processes_are_told(url: str, prefix: str, notes: Notes, store: Store) -> None:
    ids = [f"c{number}" for number in range(4)]

    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 3, url, prefix):
            await asyncio.gather(*[platform.start_conversation(one) for one in ids])
            for one in ids:
                assert await turn_everywhere(platform, one) == [1, 2, 3]
            for one in ids:
                await platform.end_conversation(one, to=platform.agents)
                await platform.end_conversation(one, to=platform.agents)

    asyncio.run(scenario())
    # The processes have stopped, so whatever was under way is noted.
    assert notes.counts() == {
        **{("started", one): 1 for one in ids},
        **{("resumed", one): 2 for one in ids},
        **{("ended", one): 1 for one in ids},
    }
    for one in ids:
        events = [event for event, conversation_id, _ in notes.all() if conversation_id == one]
        assert events == ["started", "resumed", "resumed", "ended"]
        assert store.conversation(one).state == {"turns": 3, "customer_id": "ada"}


def test_calls_wait_in_every_process_for_the_started_hook_of_one(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Gated", 2, url, prefix):
            await asyncio.gather(*[platform.start_conversation(one) for one in ("slow", "fast")])
            await notes.until("starting", "slow")
            waiting = asyncio.create_task(turn_everywhere(platform, "slow"))
            # Messages are handled in order: whoever answers this has had the call that waits.
            assert await turn_everywhere(platform, "fast") == [1, 2]
            assert not waiting.done()
            assert not store.conversation("slow").exists()
            notes.open_gate()
            assert await waiting == [1, 2]

    asyncio.run(scenario())
    slow = [event for event, conversation_id, _ in notes.all() if conversation_id == "slow"]
    assert slow == ["starting", "started", "resumed"]


def test_a_process_that_is_killed_in_the_started_hook_leaves_it_to_another(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Dying", 2, url, prefix):
            await platform.start_conversation("c1")
            victim = await notes.until("starting", "c1")
            os.kill(victim, signal.SIGKILL)
            await first_departure(platform)
            assert await turn_everywhere(platform, "c1") == [1]

    asyncio.run(scenario())
    assert notes.counts() == {("starting", "c1"): 2, ("started", "c1"): 1}


def test_starting_again_resets_nothing(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform:
            for turns in (1, 2):
                async with processes(platform, "once_agents:Noting", 1, url, prefix):
                    await platform.start_conversation("c1")
                    assert await turn_everywhere(platform, "c1") == [turns]
                assert platform.agents == ()

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("resumed", "c1"): 1}


def test_a_call_can_be_the_first_that_a_process_hears_of_a_conversation(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 2, url, prefix):
            await platform.start_conversation("c1", to=platform.agents[:1])
            assert (await platform.call("c1", "turn")).result == 1
            assert (await platform.call("c1", "turn", agent=platform.agents[1])).result == 2

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("resumed", "c1"): 1}


def test_an_ending_that_repeats_elsewhere_after_the_clean_up_runs_and_merges_nothing_again(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:CleaningUp", 2, url, prefix):
            first, second = platform.agents
            await platform.start_conversation("c1")
            assert await turn_everywhere(platform, "c1") == [1, 2]
            await platform.end_conversation("c1", to=[first])
            await notes.until("ended", "c1")
            await platform.end_conversation("c1", to=[second])

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("resumed", "c1"): 1, ("ended", "c1"): 1}
    assert not store.conversation("c1").exists()
    customer = store.customer("ada")
    assert customer.get("last_conversation") == "c1"
    assert [(one.id, one.ended_at is not None) for one in customer.conversations()] == [("c1", True)]
    assert customer.merge_conversation("c1") is False
