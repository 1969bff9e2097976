"""One loader runs at a time, whatever happens to it: many processes, a killed one, cancelled tasks, lost replies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from redstate import ABSENT, AsyncStore, Store, _scripts, errors
from redstate._keys import cache_key
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("cache_worker.py")


@contextmanager
def worker(server: Any, prefix: str, mode: str, colour: str, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(WORKER), server.url, prefix, mode, colour, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def crowd(server: Any, prefix: str, mode: str, colours: tuple[str, str]) -> list[str]:
    """What 16 callers in two processes got."""
    with worker(server, prefix, mode, colours[0], 8) as first, worker(server, prefix, mode, colours[1], 8) as second:
        outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0]
    return "".join(outputs).splitlines()


def never() -> Any:
    raise AssertionError("this loader must not run")


@pytest.mark.parametrize("colours", [("sync", "sync"), ("async", "async"), ("sync", "async")], ids="-".join)
def test_sixteen_callers_in_two_processes_cause_one_load(server: Any, prefix: str, colours: tuple[str, str]) -> None:
    assert crowd(server, prefix, "crowd", colours) == ["load 1"] * 16


@pytest.mark.parametrize("colours", [("sync", "sync"), ("sync", "async")], ids="-".join)
def test_a_load_that_raises_fails_for_its_process_and_the_next_one_loads(
    server: Any, prefix: str, colours: tuple[str, str]
) -> None:
    found = Counter(crowd(server, prefix, "failing", colours))
    assert sum(found.values()) == 16
    assert found["raised load 1"] and found["raised load 2"]
    assert found.keys() <= {"raised load 1", "raised load 2", "load 3"}  # which only one who just asked can cause


@pytest.mark.parametrize("killed", ["sync", "async"])
def test_a_killed_loader_blocks_nobody_longer_than_its_lease(
    server: Any, prefix: str, open_store: Callable[..., Any], killed: str
) -> None:
    cache = open_store(server.url, timeout=20.0).cache
    raw = redis.Redis.from_url(server.url)
    with worker(server, prefix, "hanging", killed, 1) as process:
        assert process.stdout is not None and process.stdout.readline() == "loading\n"
        process.kill()
        process.wait()
    until = int(raw.hget(cache_key(prefix, "k"), "l") or 0)
    began = time.monotonic()
    assert cache.get_or_set("k", raw.time) is not None
    seconds, micros = cache.get("k")
    raw.close()
    assert seconds * 1_000_000 + micros >= until
    assert time.monotonic() - began < 8  # half a second, and what a crowded machine adds; less than a lease of its own


# Waiting within a process ---------------------------------------------------------------------------------------------


def test_waiters_of_one_process_share_one_poll(own_server: Any, prefix: str) -> None:
    def until(calls: int) -> None:
        while own_server.command("INFO", "commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"] < calls:
            pass

    async def seconds_of_fifteen_polls() -> float:
        async with AsyncStore.from_url(own_server.url, key_prefix=prefix, timeout=20.0) as store:
            released = asyncio.Event()

            async def load() -> str:
                await released.wait()
                return "loaded"

            await store.cache.set("other", 1)
            assert await store.cache.get_or_set("other", never) == 1
            own_server.command("CONFIG", "RESETSTAT")
            began = time.monotonic()
            tasks = [asyncio.create_task(store.cache.get_or_set("k", load, lease=60)) for _ in range(200)]
            await asyncio.to_thread(until, 200 + 15)
            seconds = time.monotonic() - began
            released.set()
            assert set(await asyncio.gather(*tasks)) == {"loaded"}
            return seconds

    # The pauses of one who polls add up to 0.4 s at least; if each of 199 polled, the first would be enough.
    assert asyncio.run(seconds_of_fifteen_polls()) > 0.4


def test_threads_that_wait_get_the_failure_of_the_load_and_do_not_try_in_turn(own_server: Any, prefix: str) -> None:
    with Store.from_url(own_server.url, key_prefix=prefix, timeout=20.0) as store:
        store.cache.get_or_set("other", lambda: 1)
        own_server.command("CONFIG", "RESETSTAT")

        def load() -> str:
            # Everybody has asked, and the one who polls does so again and again.
            while own_server.command("INFO", "commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"] < 14 + 15:
                pass
            loads.append(1)
            raise LookupError("no such product")

        loads: list[int] = []
        with ThreadPoolExecutor(14) as pool:
            asked = [pool.submit(store.cache.get_or_set, "k", load, lease=60) for _ in range(14)]
            assert {type(one.exception(60)) for one in asked} == {LookupError}
        assert len(loads) <= 2  # the one who polls may have been asking just then


def test_a_cancelled_loader_gives_its_lease_back_and_a_cancelled_waiter_strands_nobody(url: str, prefix: str) -> None:
    async def scene() -> list[str]:
        async with AsyncStore.from_url(url, key_prefix=prefix, timeout=20.0) as store:
            loading = asyncio.Event()

            async def hang() -> str:
                loading.set()
                await asyncio.Event().wait()
                return "never"

            async def load() -> str:
                return "loaded"

            loader = asyncio.create_task(store.cache.get_or_set("k", hang, lease=60))
            await loading.wait()
            waiters = [asyncio.create_task(store.cache.get_or_set("k", load, lease=60)) for _ in range(5)]
            await store.ping()  # their claims went out before it, and are answered
            waiters[0].cancel()
            loader.cancel()
            results = await asyncio.gather(loader, *waiters, return_exceptions=True)
            return [type(result).__name__ if isinstance(result, BaseException) else result for result in results]

    began = time.monotonic()
    assert asyncio.run(scene()) == ["CancelledError", "CancelledError"] + ["loaded"] * 4
    assert time.monotonic() - began < 30  # none of them had to wait for a lease to run out


def test_a_thread_that_waits_is_woken_when_its_own_process_has_loaded(url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix, timeout=20.0) as store:
        loading, released, found = threading.Event(), threading.Event(), []

        def load() -> str:
            loading.set()
            released.wait(60)
            return "loaded"

        threads = [threading.Thread(target=lambda: found.append(store.cache.get_or_set("k", load, lease=60)))]
        threads[0].start()
        loading.wait(60)
        threads += [threading.Thread(target=lambda: found.append(store.cache.get_or_set("k", never))) for _ in range(7)]
        for thread in threads[1:]:
            thread.start()
        released.set()
        for thread in threads:
            thread.join(60)
        assert found == ["loaded"] * 8


# Lost replies ---------------------------------------------------------------------------------------------------------


def runs(name: str) -> Callable[[bytes, list[bytes]], bool]:
    """Picks the calls of one script."""
    sha = _scripts.load(name).sha.encode()
    return lambda command, arguments: command == b"EVALSHA" and arguments[0] == sha


@pytest.mark.parametrize("script", ["cache_claim", "cache_mark", "cache_store"])
def test_a_lost_reply_of_any_step_is_one_load_all_the_same(
    proxy: FaultProxy, open_store: Callable[..., Any], script: str
) -> None:
    cache = open_store(proxy.url, timeout=20.0).cache
    loads: list[int] = []
    for key in ("warm", "k"):  # the first time loads the scripts
        if key == "k":
            proxy.swallow_replies(2, matching=runs(script))
        assert cache.get_or_set(key, lambda: loads.append(1) or "loaded", tags=["t"], lease=60) == "loaded"
        assert cache.get_or_set(key, never) == "loaded"
    assert (len(loads), proxy.stats.swallowed) == (2, 2)


def test_a_lost_reply_of_a_release_leaves_no_lease(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    cache = open_store(proxy.url, timeout=20.0).cache
    for swallowed in (0, 1):
        if swallowed:
            proxy.swallow_replies(1, matching=runs("cache_release"))
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("k", lambda: 1 // 0, lease=60)
    assert proxy.stats.swallowed == 1
    assert cache.get_or_set("k", lambda: "next", lease=60) == "next"


@pytest.mark.parametrize(
    "act", [lambda cache: cache.set("k", 2), lambda cache: cache.delete("k")], ids=["set", "delete"]
)
def test_a_lost_reply_of_a_change_is_repeated(
    proxy: FaultProxy, open_store: Callable[..., Any], act: Callable[[Any], None]
) -> None:
    cache = open_store(proxy.url, timeout=20.0).cache
    cache.set("k", 1)
    proxy.swallow_replies(1, matching=lambda command, arguments: command in (b"EVALSHA", b"HDEL"))
    act(cache)
    assert proxy.stats.swallowed == 1
    assert cache.get("k", ABSENT) in (2, ABSENT)


def test_a_loaders_own_exception_comes_through_when_the_server_is_gone(
    own_server: Any, open_store: Callable[..., Any]
) -> None:
    with FaultProxy(own_server.url) as proxy:
        cache = open_store(proxy.url, timeout=0.5).cache

        def load() -> Any:
            proxy.blackhole()
            raise LookupError("no such product")

        with pytest.raises(LookupError) as caught:
            cache.get_or_set("k", load)
        (note,) = caught.value.__notes__
        assert "lease" in note
        with pytest.raises(errors.StoreError):
            cache.get("k")
