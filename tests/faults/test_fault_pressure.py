"""Too much at once, forks, threads and event loops: calls wait their turn, and nobody shares what cannot be shared."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import servers

from redstate import AsyncStore, Store, errors
from redstate.testing.proxy import FaultProxy

FORKING = Path(__file__).with_name("forking_worker.py")


def outcome(call: Callable[[], Any]) -> tuple[str, float]:
    """The name of the error that a blocking call ends with, and after how many seconds."""
    began = time.monotonic()
    try:
        call()
    except errors.RedstateError as error:
        return type(error).__name__, time.monotonic() - began
    return "done", time.monotonic() - began


def test_threads_beyond_the_pool_wait_and_are_told_at_their_deadline(server: Any, prefix: str) -> None:
    with (
        FaultProxy(server.url) as proxy,
        Store.from_url(proxy.url, key_prefix=prefix, timeout=20.0, max_in_flight=2) as store,
        ThreadPoolExecutor(6) as threads,
    ):
        with proxy.hold_replies(command="HMGET"):
            patient = [threads.submit(store.conversation(f"p{number}").state.get, "a", "found") for number in range(2)]
            proxy.wait_for(held=2)
            hurried = [store.conversation(f"h{number}", timeout=0.4).state for number in range(4)]
            outcomes = list(threads.map(lambda state: outcome(lambda: state.increment("n")), hurried))
        assert [future.result() for future in patient] == ["found", "found"]
        assert {name for name, _ in outcomes} == {"Overloaded"}
        assert all(0.35 < seconds < 2.0 for _, seconds in outcomes), outcomes
        assert [state.increment("n") for state in hurried] == [1, 1, 1, 1]


def test_tasks_beyond_the_limit_wait_and_are_told_at_their_deadline(server: Any, prefix: str) -> None:
    async def overload(proxy: FaultProxy) -> None:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0, max_in_flight=8) as store:
            await store.ping()
            with proxy.hold_replies(command="HMGET"):
                calls = [store.conversation(f"p{number}").state.get("a", "found") for number in range(8)]
                patient = [asyncio.create_task(call) for call in calls]
                await asyncio.to_thread(proxy.wait_for, held=1)
                hurried = [store.conversation(f"h{number}", timeout=0.4).state for number in range(32)]
                began = time.monotonic()
                results = await asyncio.gather(*(state.increment("n") for state in hurried), return_exceptions=True)
                assert 0.35 < time.monotonic() - began < 2.0
                assert {type(result).__name__ for result in results} == {"Overloaded"}
            assert await asyncio.gather(*patient) == ["found"] * 8
            assert set(await asyncio.gather(*(state.increment("n") for state in hurried))) == {1}

    with FaultProxy(server.url) as proxy:
        asyncio.run(overload(proxy))


def test_threads_that_meet_a_frozen_server_are_all_told_in_time(own_server: servers.RunningServer, prefix: str) -> None:
    with Store.from_url(own_server.url, key_prefix=prefix, timeout=0.6, max_in_flight=2) as store:
        states = [store.conversation(f"c{number}").state for number in range(6)]
        for state in states:
            state.increment("n")
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(6) as threads:
                outcomes = list(threads.map(lambda state: outcome(lambda: state.increment("n")), states))
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert {name for name, _ in outcomes} <= {"OutcomeUnknown", "Overloaded", "ServerUnavailable"}
        assert all(0.5 < seconds < 2.0 for _, seconds in outcomes), outcomes
        assert {state.increment("n") for state in states} <= {2, 3}


def test_calls_beyond_the_limit_go_on_when_there_is_room_again(server: Any, prefix: str) -> None:
    async def crowd() -> None:
        async with AsyncStore.from_url(server.url, key_prefix=prefix, timeout=30.0, max_in_flight=4) as store:
            states = [store.conversation(f"c{number % 10}").state for number in range(500)]
            values = await asyncio.gather(*(state.increment("n") for state in states))
            assert sorted(values) == sorted(list(range(1, 51)) * 10)

    asyncio.run(crowd())


def test_no_more_than_the_limit_is_ever_sent(own_server: servers.RunningServer, prefix: str) -> None:
    async def crowd() -> None:
        with FaultProxy(own_server.url) as proxy:
            async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=30.0, max_in_flight=5) as store:
                states = [store.conversation(f"c{number}").state for number in range(50)]
                await states[0].set("n", 0)
                before = proxy.stats.requests
                with proxy.hold_replies(command="EVALSHA"):
                    calls = [asyncio.create_task(state.set("n", 1)) for state in states]
                    await asyncio.to_thread(proxy.wait_for, held=1, requests=before + 5)
                    assert proxy.stats.requests == before + 5
                await asyncio.gather(*calls)

    asyncio.run(crowd())


def test_thousands_of_changes_in_flight_on_one_conversation_do_not_block_the_server(
    own_server: servers.RunningServer, prefix: str
) -> None:
    async def burst() -> None:
        async with AsyncStore.from_url(own_server.url, key_prefix=prefix, timeout=60) as store:
            state = store.conversation("c").state
            values = await asyncio.gather(*(state.increment("n") for _ in range(2_000)))
            assert sorted(values) == list(range(1, 2_001))

    began = time.monotonic()
    asyncio.run(asyncio.wait_for(burst(), 20))
    assert time.monotonic() - began < 5


def test_large_values_in_flight_at_once_arrive_whole(server: Any, prefix: str) -> None:
    async def heavy() -> None:
        async with AsyncStore.from_url(server.url, key_prefix=prefix, timeout=60.0) as store:
            texts = [f"{number}" * 100_000 for number in range(10)] * 6
            states = [store.conversation(f"c{number}").state for number in range(len(texts))]
            await asyncio.gather(*(state.set("text", text) for state, text in zip(states, texts, strict=True)))
            assert await asyncio.gather(*(state.get("text") for state in states)) == texts

    asyncio.run(heavy())


def test_many_threads_share_a_store(server: Any, prefix: str) -> None:
    with Store.from_url(server.url, key_prefix=prefix, timeout=60.0, max_in_flight=5) as store:

        def own(number: int) -> bool:
            conversation = store.conversation(f"c{number}")
            for turn in range(20):
                conversation.state.set("mine", [number, turn])
                if conversation.state.get("mine") != [number, turn]:
                    return False
            return True

        with ThreadPoolExecutor(40) as threads:
            assert all(threads.map(own, range(40)))


def test_a_store_that_is_closed_lets_running_calls_end_and_refuses_new_ones(server: Any, prefix: str) -> None:
    with FaultProxy(server.url) as proxy:
        store = Store.from_url(proxy.url, key_prefix=prefix, timeout=20.0)
        state = store.conversation("c").state
        state.set("n", 1)
        found: list[Any] = []
        with proxy.hold_replies(command="HMGET"):
            reader = threading.Thread(target=lambda: found.append(state.get("n")))
            reader.start()
            proxy.wait_for(held=1)
            store.close()
        reader.join()
        assert found == [1]
        with pytest.raises(errors.StoreClosed):
            state.get("n")


def test_an_asyncio_call_that_waits_when_its_store_is_closed_is_told(server: Any, prefix: str) -> None:
    async def close_early() -> None:
        with FaultProxy(server.url) as proxy:
            store = AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0)
            state = store.conversation("c").state
            await state.set("n", 1)
            with proxy.hold_replies():
                write, read = asyncio.create_task(state.set("n", 2)), asyncio.create_task(state.get("n"))
                await asyncio.to_thread(proxy.wait_for, held=1)
                await store.close()
                with pytest.raises(errors.OutcomeUnknown):
                    await write
                with pytest.raises((errors.CallTimeout, errors.StoreClosed)):
                    await read
            with pytest.raises(errors.StoreClosed):
                await state.get("n")

    asyncio.run(close_early())


def test_an_async_store_serves_one_event_loop_after_another(server: Any, prefix: str) -> None:
    store = AsyncStore.from_url(server.url, key_prefix=prefix, timeout=20.0)
    state = store.conversation("c").state
    for turn in (1, 2, 3):
        assert asyncio.run(state.increment("n")) == turn
    asyncio.run(store.close())
    with pytest.raises(errors.StoreClosed):
        asyncio.run(state.increment("n"))


def test_an_async_store_does_not_serve_two_event_loops_at_once(server: Any, prefix: str) -> None:
    store = AsyncStore.from_url(server.url, key_prefix=prefix, timeout=20.0)
    state = store.conversation("c").state

    async def main() -> None:
        await state.set("n", 1)
        with pytest.raises(errors.ConfigurationError):
            await asyncio.to_thread(asyncio.run, state.increment("n"))
        assert await state.increment("n") == 2
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("way", ["os.fork", "multiprocessing"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_forked_child_has_connections_of_its_own(server: Any, prefix: str, way: str, colour: str) -> None:
    worker = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(FORKING), server.url, prefix, way, colour],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert worker.returncode == 0, worker.stderr[-2000:]
    assert worker.stdout.split() == ["child", "ok", "parent", "ok", "800"]
