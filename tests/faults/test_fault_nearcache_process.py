"""The near cache of a process that stalls, forks or hears nothing, and of one whose server is gone.

Another process is played by a store on another address of the same server, or is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers
from nearcache_reads import Truth, from_memory, heard

from redstate import UNCACHED, AsyncStore, Store, errors
from redstate.embedded import EmbeddedServer
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("nearcache_worker.py")
LONG = 30.0  # a max_staleness that no test lasts, so that it is not what puts anything right


@contextlib.contextmanager
def worker(*arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of nearcache_worker.py, which goes with the test."""
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the worker has ended"
    return line.strip()


# 22: the server is gone for a while -----------------------------------------------------------------------------------


def persistent(port: int, folder: Path) -> EmbeddedServer:
    """A server on a fixed port that writes everything to disk before it answers."""
    config = {"port": str(port), "dir": str(folder), "appendonly": "yes", "appendfsync": "always"}
    return EmbeddedServer.start(config=config)


def listeners() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("redstate-near-cache")}


def test_memory_serves_nothing_while_the_server_is_gone_and_again_when_it_is_back(
    open_store: Callable[..., Any], prefix: str, tmp_path: Path
) -> None:
    port, others = servers.free_port(), listeners()
    server = persistent(port, tmp_path)
    try:
        store = open_store(f"redis://127.0.0.1:{port}", timeout=20.0, max_staleness=LONG)
        states = [store.conversation(name).state for name in ("c", "d")]
        hurried = store.conversation("c", timeout=0.3).state
        for state in states:
            state.set("n", 1)
            assert from_memory(store, lambda state=state: state.get("n")) == 1
        (listener,) = listeners() - others
        server.close()  # by SIGKILL
        servers.wait_until(lambda: store.nearcache.stats().drops == 1, "everything is dropped")
        for _ in range(2):
            assert hurried.peek("n") is UNCACHED
            with pytest.raises(errors.StoreError):
                hurried.get("n")
        assert not store.nearcache.stats().serving
        server = persistent(port, tmp_path)
        with Store.from_url(server.url, key_prefix=prefix, timeout=20.0) as elsewhere:
            elsewhere.conversation("c").state.set("n", 2)
            assert [state.get("n") for state in states] == [2, 1]
            assert [from_memory(store, lambda state=state: state.get("n")) for state in states] == [2, 1]
            heard(store, lambda: elsewhere.conversation("d").state.set("n", 3))
            assert [state.get("n") for state in states] == [2, 3]
        stats = store.nearcache.stats()
        assert (stats.drops, stats.reconnects, listeners() - others) == (1, 1, {listener})
    finally:
        server.close()


# 23: the server cuts off a subscriber that does not read --------------------------------------------------------------


def subscribers(server: servers.RunningServer) -> int:
    return len(server.command("CLIENT", "LIST", "TYPE", "PUBSUB").splitlines())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_subscriber_that_the_server_cut_off_drops_all_that_it_may_have_missed(
    own_server: servers.RunningServer, prefix: str, colour: str
) -> None:
    own_server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32kb 0 0")
    with Store.from_url(own_server.url, key_prefix=prefix, timeout=20.0, max_staleness=0) as elsewhere:
        states = [elsewhere.conversation(f"c{number}").state for number in range(10)]
        for state in states:
            state.set("n", 1)
        with worker(own_server.url, prefix, LONG, colour, "deaf") as process:
            assert line_of(process) == "memory"
            assert subscribers(own_server) == 1
            os.kill(process.pid, signal.SIGSTOP)

            def is_cut_off() -> bool:
                for number in range(500):
                    states[0].set("n", number)
                return subscribers(own_server) == 0

            servers.wait_until(is_cut_off, "the server has cut it off", timeout=60)
            for number, state in enumerate(states):
                state.set("n", 100 + number)
            os.kill(process.pid, signal.SIGCONT)
            right = " ".join(str(100 + number) for number in range(10))
            assert [line_of(process), line_of(process)] == [right, right]
    cut_off = own_server.command("INFO", "stats")
    assert cut_off["client_output_buffer_limit_disconnections"] == 1


def test_a_message_is_small_however_large_the_change(server: Any, elsewhere: Store) -> None:
    conversation = elsewhere.conversation("c")
    with redis.Redis.from_url(server.url) as raw, raw.pubsub(ignore_subscribe_messages=False) as subscription:
        subscription.subscribe(conversation.key)
        assert subscription.get_message(timeout=20)["type"] == "subscribe"
        conversation.state.set("text", "x" * 200_000)
        assert subscription.get_message(timeout=20)["data"] == b"%016d" % conversation.version()


# 24: the process stalls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_first_read_after_a_process_was_stopped_is_right(
    server: Any, prefix: str, truth: Truth, colour: str
) -> None:
    longest = 0.3
    with worker(server.url, prefix, longest, colour, "stall") as process:
        for _ in range(3):
            while line_of(process) != "memory":
                pass
            os.kill(process.pid, signal.SIGSTOP)
            newest = truth.change()
            time.sleep(longest * 1.5)  # so long is the fault
            woken = time.monotonic()
            os.kill(process.pid, signal.SIGCONT)
            began = found = 0.0
            while began < woken:  # it may have stalled by itself before
                words = line_of(process).split()
                if words != ["memory"]:
                    began, found = map(float, words)
            assert found == newest


def test_the_first_read_after_the_event_loop_stood_still_is_right(proxy: FaultProxy, prefix: str, truth: Truth) -> None:
    longest = 0.3

    def stand_still() -> None:
        time.sleep(longest)  # what no coroutine should do

    async def scene() -> None:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0, max_staleness=longest) as store:
            state = store.conversation("c").state
            for _ in range(2):
                served = store.nearcache.stats().hits
                while store.nearcache.stats().hits == served:
                    await state.get("n")
                proxy.blackhole(carrying="SUBSCRIBE")  # the listener's thread goes on, and shall not be what helps
                newest = truth.change()
                stand_still()
                assert await state.get("n") == newest
                proxy.heal()

    asyncio.run(scene())


# 27: the process forks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["os.fork", "multiprocessing"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_forked_child_begins_empty_with_a_listener_of_its_own_and_leaves_the_parents_alone(
    own_server: servers.RunningServer, prefix: str, colour: str, way: str
) -> None:
    with Store.from_url(own_server.url, key_prefix=prefix, timeout=20.0, max_staleness=0) as elsewhere:
        state = elsewhere.conversation("c").state
        state.set("n", 1)
        with worker(own_server.url, prefix, LONG, colour, "fork", way) as process:
            assert [line_of(process) for _ in range(3)] == [
                "child begins with 0 entries, 0 listeners, serving False",
                "child reads 1",
                "child has 1 listeners",
            ]
            assert subscribers(own_server) == 2
            state.set("n", 2)
            assert {line_of(process), line_of(process)} == {"child heard 2", "parent heard 2"}
            assert line_of(process) == "child has ended"
            servers.wait_until(lambda: subscribers(own_server) == 1, "the server has noticed")
            state.set("n", 3)
            assert line_of(process) == "parent heard 3"
            assert line_of(process) == "parent has 1 listeners, dropped 0, serves True"
            assert process.wait(60) == 0


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_children_that_are_forked_while_messages_pour_in_read_right(
    server: Any, prefix: str, truth: Truth, colour: str
) -> None:
    with worker(server.url, prefix, LONG, colour, "forks") as process:
        changes = threading.Event()

        def change_on_and_on() -> None:
            while not changes.wait(0.001):
                truth.change()

        changing = threading.Thread(target=change_on_and_on)
        changing.start()
        try:
            for _ in range(12):
                least, first, remembered = map(int, line_of(process).split())
                assert least <= first <= remembered <= truth.newest + 1
            assert line_of(process) == "dropped 0"
            assert process.wait(60) == 0
        finally:
            changes.set()
            changing.join()
