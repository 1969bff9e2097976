"""Replies that never come: lost after execution, late, chopped up, or swallowed by the network for good."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from redstate import errors
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("increment_worker.py")
CONVERSATIONS = 20


def in_time(deadline: float, attempt: Callable[[], object]) -> None:
    """Make an attempt that must end at its deadline, give or take half a second.

    A crowded machine can delay any single one, so the quickest of three counts.
    """
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        attempt()
        seconds.append(time.monotonic() - began)
        if seconds[-1] < deadline + 0.5:
            return
    pytest.fail(f"three attempts took {seconds} s instead of {deadline:g}")


def unknown(change: Callable[[], object]) -> str:
    """The op_id of a change whose outcome stays unknown."""
    with pytest.raises(errors.OutcomeUnknown) as caught:
        change()
    assert caught.value.key.endswith("{conv:c}")
    return caught.value.op_id


def no_answer(call: Callable[[], object]) -> None:
    with pytest.raises((errors.CallTimeout, errors.ServerUnavailable)):
        call()


@pytest.mark.parametrize("drops", [1, 2, 3])
def test_a_change_whose_replies_are_lost_runs_once_and_returns_its_first_result(
    proxy: FaultProxy, open_store: Callable[..., Any], drops: int
) -> None:
    conversation = open_store(proxy.url, timeout=20.0).conversation("c")
    conversation.state.set("warm", 1)
    proxy.swallow_replies(drops, command="EVALSHA")
    assert conversation.state.increment("n") == 1
    proxy.swallow_replies(drops, command="EVALSHA")
    assert conversation.cart.add("sku", 2, "9.99") == 2
    assert proxy.stats.swallowed == 2 * drops
    assert (conversation.state.get("n"), conversation.cart.count()) == (1, 2)


def test_a_request_that_is_lost_runs_once(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    conversation = open_store(proxy.url, timeout=20.0).conversation("c")
    conversation.state.set("warm", 1)
    proxy.swallow_requests(2, command="EVALSHA")
    assert [conversation.state.increment("n"), conversation.state.increment("n")] == [1, 2]


def test_reads_survive_lost_replies(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    conversation = open_store(proxy.url, timeout=20.0).conversation("c")
    conversation.state.set("a", "value")
    proxy.swallow_replies(2, command="HMGET")
    assert conversation.state.get("a") == "value"


def test_the_first_call_of_all_survives_lost_replies(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    proxy.swallow_replies(1, command="EVALSHA")
    assert open_store(proxy.url, timeout=20.0).conversation("c").state.increment("n") == 1


def test_a_connection_that_dies_while_a_script_is_loaded(own_server: Any, open_store: Callable[..., Any]) -> None:
    with FaultProxy(own_server.url) as proxy:
        conversation = open_store(proxy.url, timeout=20.0).conversation("c")
        conversation.version()
        own_server.command("SCRIPT", "FLUSH")
        proxy.swallow_replies(1, command="SCRIPT")
        assert conversation.state.increment("n") == 1
        assert proxy.stats.swallowed == 1


def test_replies_that_come_byte_by_byte_are_whole(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    conversation = open_store(proxy.url, timeout=20.0).conversation("c")
    proxy.chunk(1)
    proxy.chunk(3, direction="requests")
    text = "long text " * 100
    conversation.state.update(text=text, n=1)
    assert conversation.state.all() == {"text": text, "n": 1}
    assert [conversation.state.increment("n") for _ in range(5)] == [2, 3, 4, 5, 6]


def test_a_write_into_a_black_hole_is_unknown_at_its_deadline_and_heals(
    proxy: FaultProxy, open_store: Callable[..., Any]
) -> None:
    store = open_store(proxy.url, timeout=20.0)
    conversation, hurried = store.conversation("c"), store.conversation("c", timeout=0.4)
    conversation.state.increment("n")
    op_ids: list[str] = []

    def write() -> None:
        proxy.blackhole()
        op_ids.append(unknown(lambda: hurried.state.increment("n")))
        proxy.heal()
        conversation.version()

    in_time(0.4, write)
    values = [conversation.state.increment("n", op_id=op_id) for op_id in op_ids * 2]
    assert sorted(set(values)) == list(range(2, len(op_ids) + 2))
    assert conversation.state.get("n") == len(op_ids) + 1


def test_a_read_into_a_black_hole_times_out_and_heals(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    store = open_store(proxy.url, timeout=20.0)
    conversation, hurried = store.conversation("c"), store.conversation("c", timeout=0.4)
    conversation.state.set("n", 7)
    proxy.blackhole()
    in_time(0.4, lambda: no_answer(lambda: hurried.state.get("n")))
    proxy.heal()
    assert conversation.state.get("n") == 7


def test_a_store_that_connects_into_a_black_hole_says_so_in_time(
    proxy: FaultProxy, open_store: Callable[..., Any]
) -> None:
    proxy.blackhole()
    conversation = open_store(proxy.url, timeout=0.4).conversation("c")
    in_time(0.4, lambda: no_answer(lambda: conversation.state.get("n")))


def test_the_steps_of_one_call_share_its_deadline(own_server: Any, open_store: Callable[..., Any]) -> None:
    with FaultProxy(own_server.url) as proxy:
        store = open_store(proxy.url, timeout=20.0)
        hurried = store.conversation("c", timeout=0.5)

        def increment() -> None:
            proxy.delay(0)
            store.ping()
            own_server.command("SCRIPT", "FLUSH")
            proxy.delay(0.4)  # EVALSHA, SCRIPT LOAD and EVALSHA again: each alone would be in time
            with pytest.raises((errors.OutcomeUnknown, errors.CallTimeout)):
                hurried.state.increment("n")

        in_time(0.5, increment)


def test_a_reply_that_stops_in_the_middle_does_not_prolong_the_deadline(
    proxy: FaultProxy, open_store: Callable[..., Any]
) -> None:
    store = open_store(proxy.url, timeout=20.0)
    store.conversation("c").state.set("text", "x" * 200_000)
    hurried = store.conversation("c", timeout=0.5)
    proxy.chunk(1)  # 200,000 turns of the proxy's loop: some of it comes, all of it does not
    in_time(0.5, lambda: no_answer(lambda: hurried.state.get("text")))


def test_a_refusal_that_follows_a_lost_reply_is_no_proof_that_nothing_ran(
    own_server: Any, open_store: Callable[..., Any]
) -> None:
    with FaultProxy(own_server.url) as proxy:
        conversation = open_store(proxy.url, timeout=1.0).conversation("c")
        conversation.state.increment("n")
        blocker = redis.Redis(unix_socket_path=own_server.embedded.socket_path)
        blocker.config_set("maxclients", 1)
        proxy.swallow_replies(1, command="EVALSHA")
        with pytest.raises(errors.OutcomeUnknown) as caught:
            conversation.state.increment("n")
        assert blocker.hget(conversation.key, "sn") == b"2"
        blocker.config_set("maxclients", 100)
        blocker.close()
        assert conversation.state.increment("n", op_id=caught.value.op_id) == 2


def test_many_op_ids_in_flight_survive_a_lost_connection(proxy: FaultProxy, prefix: str) -> None:
    import asyncio

    from redstate import AsyncStore

    async def burst() -> int:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0) as store:
            state = store.conversation("c").state
            await state.set("n", 0)
            with proxy.hold_replies(command="EVALSHA"):
                calls = [asyncio.create_task(state.increment("n", op_id=f"order-{number}")) for number in range(100)]
                await asyncio.to_thread(proxy.wait_for, replies=100)
                await asyncio.to_thread(proxy.cut)
            await asyncio.gather(*calls)
            return int(await state.get("n"))

    assert asyncio.run(burst()) == 100


def run_increments(server: Any, prefix: str, total: int) -> None:
    """Four processes, half of them asyncio, increment the same conversations while 5 % of the replies are lost."""
    with FaultProxy(server.url) as proxy:
        proxy.swallow_fraction(0.05, seed=7, command="EVALSHA")
        command = [sys.executable, str(WORKER), proxy.url, prefix, str(total // 4), str(CONVERSATIONS)]
        workers = [
            subprocess.Popen([*command, colour], stdout=subprocess.PIPE, text=True)
            for colour in ("sync", "async", "sync", "async")
        ]
        outputs = [worker.communicate(timeout=110 * max(1, total // 100_000))[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
        lost = proxy.stats.swallowed
    values = [tuple(map(int, line.split())) for output in outputs for line in output.splitlines()]
    raw = redis.Redis.from_url(server.url)
    stored = [int(raw.hget(f"{prefix}:{{conv:c{number}}}", "sn") or 0) for number in range(CONVERSATIONS)]
    raw.close()
    assert sum(stored) == len(values) == total
    assert sorted(values) == [(number, value) for number, top in enumerate(stored) for value in range(1, top + 1)]
    assert lost > total * 0.04


def test_a_hundred_thousand_increments_add_up_although_replies_are_lost(server: Any, prefix: str) -> None:
    run_increments(server, prefix, 100_000)


@pytest.mark.chaos
def test_a_million_increments_add_up_although_replies_are_lost(server: Any, prefix: str) -> None:
    run_increments(server, prefix, 1_000_000)
