"""Hooks run once per conversation, in the one process that serves it; tool calls wait for them, and move with it."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterator

import pytest
from agent_notes import Notes
from agent_serving import processes
from once_agents import Dying

from redstate import Store
from redstate.testing import LocalPlatform


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[Store]:
    with Store.from_url(url, key_prefix=prefix) as opened:
        yield opened


async def end(process: Process) -> None:
    """Stop a process in order."""
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


async def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()


def test_hooks_run_once_however_many_processes_are_told(url: str, prefix: str, notes: Notes, store: Store) -> None:
    ids = [f"c{number}" for number in range(4)]

    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 3, url, prefix):
            for _ in range(2):
                await asyncio.gather(*[platform.start_conversation(one) for one in ids])
            turns = await asyncio.gather(*[platform.call(one, "turn") for one in ids * 3])
            for one in ids:
                own = [turn for turn in turns if turn.conversation_id == one]
                assert sorted(turn.result for turn in own) == [1, 2, 3]
                (owner,) = [agent.id for agent in platform.agents if one in agent.tools]
                assert {turn.agent for turn in own} == {owner}
            for one in ids:
                await platform.end_conversation(one, to=platform.agents)
                await platform.end_conversation(one, to=platform.agents)

    asyncio.run(scenario())
    # The processes have stopped, so whatever was under way is noted.
    assert notes.counts() == {(event, one): 1 for event in ("started", "ended") for one in ids}
    for one in ids:
        noted = [(event, process) for event, conversation_id, process in notes.all() if conversation_id == one]
        assert [event for event, _ in noted] == ["started", "ended"]
        assert len({process for _, process in noted}) == 1
        assert store.conversation(one).state == {"turns": 3, "customer_id": "ada"}


def test_calls_wait_in_every_process_for_the_started_hook_of_one(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Gated", 2, url, prefix):
            owner, other = platform.agents
            for one in ("slow", "fast"):
                await platform.start_conversation(one, to=[owner])
            await platform.start_conversation("slow", to=[other])
            await notes.until("starting", "slow")
            waiting = asyncio.create_task(platform.call("slow", "turn", call_id="waits"))
            # Messages are handled in order: who answers this has begun the call that waits.
            assert (await platform.call("fast", "turn")).result == 1
            await platform.redeliver("waits", agent=other)
            assert (await platform.call("another", "turn", agent=other)).result == 1
            assert platform.responses("waits") == ()
            assert not store.conversation("slow").exists()
            notes.open_gate()
            assert (await waiting).result == 1
            answers = await platform.wait_for_responses("waits", count=2)
            assert {(one.agent, one.result) for one in answers} == {(owner.id, 1), (other.id, 1)}

    asyncio.run(scenario())
    slow = [event for event, conversation_id, _ in notes.all() if conversation_id == "slow"]
    assert slow[:2] == ["starting", "started"]
    assert store.conversation("slow").state["turns"] == 1


def test_a_process_that_is_killed_in_the_started_hook_leaves_it_to_another(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Dying", 2, url, prefix) as both:
            await platform.start_conversation("c1")
            victim = await notes.until("starting", "c1")
            clock = asyncio.get_running_loop().time
            killed = clock()
            await kill(next(process for process in both if process.pid == victim))
            heir = await notes.until("started", "c1")
            assert clock() - killed < Dying.lease + 0.5 < Dying.hook_lease
            assert heir != victim
            assert (await platform.call("c1", "turn")).result == 1

    asyncio.run(scenario())
    assert notes.counts() == {("starting", "c1"): 2, ("started", "c1"): 1}


@pytest.mark.parametrize("leaves", [end, kill])
def test_a_conversation_is_resumed_in_the_process_that_takes_it_over(
    url: str, prefix: str, notes: Notes, store: Store, leaves: Callable[[Process], Awaitable[None]]
) -> None:
    async def scenario() -> tuple[int, int]:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 2, url, prefix) as both:
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "turn")).result == 1
            owner = await notes.until("started", "c1")
            await leaves(next(process for process in both if process.pid == owner))
            assert (await platform.call("c1", "turn")).result == 2
            # Being told once more changes nothing.
            await platform.start_conversation("c1")
            assert (await platform.call("c1", "turn")).result == 3
            await platform.end_conversation("c1")
            return owner, next(process.pid for process in both if process.pid != owner)

    owner, heir = asyncio.run(scenario())
    assert notes.all() == [(event, "c1", pid) for event, pid in
                           (("started", owner), ("resumed", heir), ("ended", heir))]  # fmt: skip
    assert store.conversation("c1").state == {"turns": 3, "customer_id": "ada"}


def test_an_ending_that_the_owner_never_heard_of_is_seen_to_when_it_dies(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> tuple[int, int]:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 1, url, prefix) as [owner]:
            async with processes(platform, "once_agents:Noting", 1, url, prefix) as [other]:
                await platform.start_conversation("c1", to=["agent-1"])
                assert (await platform.call("c1", "turn")).result == 1
                await platform.end_conversation("c1", to=["agent-2"])
                # Messages are handled in order.
                assert (await platform.call("c2", "turn", agent="agent-2")).result == 1
                assert notes.counts()["ended", "c1"] == 0
                await kill(owner)
                await notes.until("ended", "c1")
                return owner.pid, other.pid

    owner, other = asyncio.run(scenario())
    assert [note for note in notes.all() if note[1] == "c1"] == [
        ("started", "c1", owner),
        ("ended", "c1", other),
    ]
    assert store.customer("ada").get("last_conversation") == "c1"


def test_starting_again_resets_nothing(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform:
            for turns in (1, 2):
                async with processes(platform, "once_agents:Noting", 1, url, prefix):
                    await platform.start_conversation("c1")
                    assert (await platform.call("c1", "turn")).result == turns
                assert platform.agents == ()

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("resumed", "c1"): 1}


def test_a_call_can_be_the_first_that_a_process_hears_of_a_conversation(url: str, prefix: str, notes: Notes) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:Noting", 1, url, prefix):
            # Nobody was told of this one, and another process has served that one before.
            assert (await platform.call("c1", "turn", agent="agent-1")).result == 1
            async with processes(platform, "once_agents:Noting", 1, url, prefix):
                await platform.start_conversation("c2", to=["agent-2"])
                assert (await platform.call("c2", "turn")).result == 1
            assert (await platform.call("c2", "turn", agent="agent-1")).result == 2

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("started", "c2"): 1, ("resumed", "c2"): 1}


def test_an_ending_that_repeats_elsewhere_after_the_clean_up_runs_and_merges_nothing_again(
    url: str, prefix: str, notes: Notes, store: Store
) -> None:
    async def scenario() -> None:
        async with LocalPlatform() as platform, processes(platform, "once_agents:CleaningUp", 2, url, prefix):
            first, second = platform.agents
            for one in (first, second):
                await platform.start_conversation("c1", to=[one])
            assert [(await platform.call("c1", "turn")).result for _ in range(2)] == [1, 2]
            await platform.end_conversation("c1", to=[first])
            await notes.until("ended", "c1")
            await platform.end_conversation("c1", to=[second])

    asyncio.run(scenario())
    assert notes.counts() == {("started", "c1"): 1, ("ended", "c1"): 1}
    assert not store.conversation("c1").exists()
    customer = store.customer("ada")
    assert customer.get("last_conversation") == "c1"
    assert [(one.id, one.ended_at is not None) for one in customer.conversations()] == [("c1", True)]
    assert customer.merge_conversation("c1") is False
