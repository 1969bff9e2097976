"""Workers that die, stand still, or get what another did already: one owner at a time, each call once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from agent_notes import Notes
from agent_serving import processes

from redstate import Store
from redstate.testing import JoinedAgent, LocalPlatform, ToolCallFailed

LEASE = 1.0
AGENT = "owned_agents:Owning"


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix, max_staleness=0) as opened:
        yield opened


def workers(platform: LocalPlatform, url: str, prefix: str, count: int = 2) -> Any:
    return processes(platform, AGENT, count, url, prefix, TEST_LEASE=str(LEASE))


def other_than(platform: LocalPlatform, agent: str) -> JoinedAgent:
    return next(one for one in platform.agents if one.id != agent)


@pytest.mark.parametrize("tool", ["half", "half_async"])
def test_a_worker_that_is_killed_in_the_middle_of_a_call_loses_nothing_and_doubles_nothing(
    url: str, prefix: str, notes: Notes, store: Store, tool: str
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            first = (await platform.call("c1", "turn")).result
            call = asyncio.create_task(platform.call("c1", tool, call_id="k"))
            victim = await notes.until("half")
            assert victim == first["pid"]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            answer = (await call).result
            assert time.monotonic() - killed <= LEASE + 0.5
            # The first change was made before, and is not made again.
            assert (answer["first"], answer["second"]) == (1, 2)
            assert answer["pid"] != victim
            # It goes on from the last acknowledged write, with a higher token.
            second = (await platform.call("c1", "turn")).result
            assert (second["turns"], second["pid"]) == (2, answer["pid"])
            assert second["token"] > first["token"]

    asyncio.run(scenario())
    assert notes.events() == ["started", "half", "resumed"]
    conversation = store.conversation("c1")
    assert (conversation.state, conversation.cart.count()) == ({"turns": 2, "half": 2}, 1)


def test_a_killed_workers_conversations_are_taken_over_though_nobody_calls(url: str, prefix: str, notes: Notes) -> None:
    ids = [f"c{number}" for number in range(30)]

    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await asyncio.gather(*[platform.start_conversation(one) for one in ids])
            owners = {one: (await platform.call(one, "turn")).result["pid"] for one in ids}
            victim = owners["c0"]
            gone = [one for one in ids if owners[one] == victim]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            await notes.until("resumed", count=len(gone))
            assert time.monotonic() - killed <= LEASE + 0.5
            # Their tools are registered, so calls are answered.
            answers = [(await platform.call(one, "turn")).result for one in ids]
            assert {answer["turns"] for answer in answers} == {2}
            assert victim not in {answer["pid"] for answer in answers}
            assert sorted(where for event, where, _ in notes.all() if event == "resumed") == sorted(gone)

    asyncio.run(scenario())


@pytest.mark.parametrize("tool", ["half", "half_async"])
def test_a_stalled_owner_that_wakes_after_the_take_over_writes_nothing(
    url: str, prefix: str, notes: Notes, store: Store, tool: str
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            call = asyncio.create_task(platform.call("c1", tool, call_id="k"))
            stalled = await notes.until("half")
            os.kill(stalled, signal.SIGSTOP)
            try:
                answer = (await call).result
                assert (answer["first"], answer["second"]) == (1, 2)
                assert answer["pid"] != stalled
                before = store.conversation("c1").version()
            finally:
                os.kill(stalled, signal.SIGCONT)
            notes.open_gate()
            # Its tool goes on, and is told.
            assert await notes.until("Fenced") == stalled
            assert store.conversation("c1").version() == before
            # It has left the conversation: the platform's calls go to the new owner, whoever is asked.
            for _ in range(4):
                assert (await platform.call("c1", "turn")).result["pid"] == answer["pid"]
            assert {one.result["pid"] for one in platform.responses("k")} == {answer["pid"]}

    asyncio.run(scenario())
    assert store.conversation("c1").state == {"turns": 4, "half": 2}
    assert store.conversation("c1").cart.count() == 1


def test_a_stalled_worker_whom_nobody_replaced_keeps_what_it_owns(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix, 1):
            await platform.start_conversation("c1")
            first = (await platform.call("c1", "turn")).result
            os.kill(first["pid"], signal.SIGSTOP)
            # There is nobody else, so beyond its lease it finds all as it was.
            await asyncio.sleep(LEASE * 1.5)
            os.kill(first["pid"], signal.SIGCONT)
            second = (await platform.call("c1", "turn")).result
            assert (second["turns"], second["token"]) == (2, first["token"])

    asyncio.run(scenario())
    assert notes.events() == ["started"]


def test_a_call_that_is_delivered_to_another_worker_as_well_runs_once(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix, 3):
            await platform.start_conversation("c1")
            call = asyncio.create_task(platform.call("c1", "half", call_id="running"))
            await notes.until("half")
            # While it runs: the others wait for its answer.
            for agent in platform.agents:
                await platform.redeliver("running", agent=agent)
            notes.open_gate()
            await call
            running = await platform.wait_for_responses("running", 3)
            # When it is over: everybody repeats it.
            done = await platform.call("c1", "turn", call_id="done")
            for agent in platform.agents:
                await platform.redeliver("done", agent=agent)
            repeated = await platform.wait_for_responses("done", 4)
            assert [one.result for one in repeated] == [done.result] * 4
            assert {one.agent for one in repeated} == {one.id for one in platform.agents}
            assert {one.conversation_id for one in (*running, *repeated)} == {"c1"}
            assert len({str(one.result) for one in running}) == 1

    asyncio.run(scenario())
    assert notes.events() == ["started", "half"]
    assert store.conversation("c1").state == {"turns": 1, "half": 2}


def test_a_failed_calls_error_is_repeated_too(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            with pytest.raises(ToolCallFailed) as failed:
                await platform.call("c1", "turn", {"no such": "argument"}, call_id="k")
            await platform.redeliver("k", agent=other_than(platform, failed.value.agent))
            first, second = await platform.wait_for_responses("k", 2)
            assert first.error == second.error is not None

    asyncio.run(scenario())


def test_a_call_for_anothers_conversation_is_left_alone_and_the_owner_answers_it(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            owner = (await platform.call("c1", "turn")).agent
            call = asyncio.create_task(
                platform.call("c1", "turn", call_id="k", agent=other_than(platform, owner), timeout=20)
            )
            # Both have it now. (A further call shows that the other one has had its copy.)
            await platform.call("c1", "turn")
            assert platform.responses("k") == ()
            await platform.redeliver("k", agent=owner)
            assert (await call).agent == owner
            assert len(platform.responses("k")) == 1

    asyncio.run(scenario())
    assert store.conversation("c1").state == {"turns": 3}


def test_a_call_that_waits_at_anothers_is_served_when_its_owner_dies(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            first = await platform.call("c1", "turn")
            other = other_than(platform, first.agent)
            os.kill(first.result["pid"], signal.SIGKILL)
            # It comes before anybody can know that the owner is dead.
            assert (await platform.call("c1", "turn", agent=other)).result["turns"] == 2

    asyncio.run(scenario())
    assert store.conversation("c1").state == {"turns": 2}


def test_a_tool_that_timed_out_writes_nothing_any_more(url: str, prefix: str, notes: Notes, store: Store) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix, 1):
            await platform.start_conversation("c1")
            with pytest.raises(ToolCallFailed, match="timed out"):
                await platform.call("c1", "late", tool_timeout=0.5)
            version = store.conversation("c1").version()
            notes.open_gate()
            await notes.until("DeadlineExceeded")
            assert store.conversation("c1").version() == version
            # The next call is not disturbed.
            assert (await platform.call("c1", "turn")).result["turns"] == 1

    asyncio.run(scenario())
    assert notes.events() == ["started", "waiting", "DeadlineExceeded"]
    assert store.conversation("c1").state == {"turns": 1}
    assert not store.customer("ada").exists()


def test_a_worker_that_stops_hands_over_at_once_and_ends_nothing(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix) as started:
            await platform.start_conversation("c1")
            first = await platform.call("c1", "turn")
            stopping = next(process for process in started if process.pid == first.result["pid"])
            assert stopping.stdin is not None
            stopping.stdin.close()
            await platform.wait_for_departure(next(one for one in platform.agents if one.id == first.agent))
            second = await platform.call("c1", "turn")
            assert second.result["turns"] == 2
            assert second.result["pid"] != first.result["pid"]
            await platform.end_conversation("c1")
            await notes.until("ended")

    asyncio.run(scenario())
    assert notes.events() == ["started", "resumed", "ended"]


def test_an_end_that_the_dead_owner_did_not_see_to_is_seen_to_by_the_next(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix):
            await platform.start_conversation("c1")
            first = await platform.call("c1", "turn")
            os.kill(first.result["pid"], signal.SIGKILL)
            await platform.end_conversation("c1", to=[other_than(platform, first.agent)])
            assert await notes.until("ended") != first.result["pid"]

    asyncio.run(scenario())
    assert notes.events() == ["started", "ended"]


def test_a_call_that_kills_its_workers_is_given_up(url: str, prefix: str, notes: Notes, store: Store) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, workers(platform, url, prefix, 4):
            await platform.start_conversation("c1")
            with pytest.raises(ToolCallFailed, match="begun 3 times, and no worker survived it"):
                await platform.call("c1", "deadly")
            # The fourth worker goes on with the conversation.
            assert (await platform.call("c1", "turn")).result["turns"] == 1

    asyncio.run(scenario())
    # What it changed it changed once.
    assert store.conversation("c1").state == {"turns": 1, "deaths": 1}
