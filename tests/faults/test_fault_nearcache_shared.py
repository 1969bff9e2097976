"""Reads that share a fetch, and copies that stay in service while a change is under way: neither shows what is past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import servers
from nearcache_reads import Truth, from_memory, heard, runs

from redstate import AsyncStore, Store, errors
from redstate.testing.proxy import FaultProxy

LONG = 30.0  # a max_staleness that no test lasts, so that it is not what puts anything right


class Crowd:
    """Readers of one store, each in a thread or a task of its own.

    Attributes:
        store: what they share.
    """

    def __init__(self, colour: str, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner() if colour == "async" else None
        self._pool = ThreadPoolExecutor(8)
        if self._runner is None:
            self.store: Any = Store.from_url(url, **options)
        else:
            self._loop = self._runner.get_loop()
            self._turning = self._pool.submit(self._loop.run_forever)
            self.store = self._loop_call(self._opened(url, options)).result(20)

    async def _opened(self, url: str, options: Any) -> AsyncStore:
        return AsyncStore.from_url(url, **options)

    def _loop_call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def ask(self) -> Any:
        """Have somebody read ``n`` of "c". Returns the future of what was found."""
        state = self.store.conversation("c").state
        return self._pool.submit(state.get, "n") if self._runner is None else self._loop_call(state.get("n"))

    def read(self) -> Any:
        return self.ask().result(20)

    def change(self, field: str, value: Any, **options: Any) -> Any:
        """Have somebody set a field of "c"; likewise."""
        state = self.store.conversation("c").state
        if self._runner is None:
            return self._pool.submit(state.set, field, value, **options)
        return self._loop_call(state.set(field, value, **options))

    def close(self) -> None:
        if self._runner is None:
            self.store.close()
        else:
            self._loop_call(self.store.close()).result(20)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._turning.result(20)
            self._runner.close()
        self._pool.shutdown()


@pytest.fixture
def gather(proxy: FaultProxy, prefix: str, colour: str) -> Iterator[Callable[[float], Crowd]]:
    """Opens a store for a crowd, with a ``max_staleness``, through the proxy."""
    crowds: list[Crowd] = []

    def opened(longest: float) -> Crowd:
        options = {"key_prefix": prefix, "timeout": 20.0, "max_staleness": longest}
        crowds.append(Crowd(colour, proxy.url, **options))
        return crowds[-1]

    yield opened
    proxy.heal()
    for crowd in crowds:
        crowd.close()


@contextmanager
def fetching(proxy: FaultProxy, crowd: Crowd, truth: Truth) -> Iterator[Any]:
    """Somebody fetches the record, and what the server has answered is on its way until the end of the block."""
    from_memory(crowd.store, crowd.read)
    known = heard(crowd.store, truth.change)
    with proxy.hold_replies(matching=runs("record_read")):
        early = crowd.ask()
        proxy.wait_for(held=1)
        yield early
    assert early.result(20) == known


def test_who_asks_after_a_change_was_heard_of_does_not_wait_for_an_earlier_fetch(
    proxy: FaultProxy, gather: Callable[[float], Crowd], truth: Truth
) -> None:
    crowd = gather(LONG)
    with fetching(proxy, crowd, truth):
        heard(crowd.store, truth.change)
        late = crowd.ask()
    assert late.result(20) == truth.newest


@pytest.mark.parametrize("colour", ["sync"])  # in the other one the answer to the change comes behind what is held
def test_who_asks_after_a_change_of_this_process_does_not_wait_for_an_earlier_fetch(
    proxy: FaultProxy, gather: Callable[[float], Crowd], truth: Truth
) -> None:
    crowd = gather(LONG)
    with fetching(proxy, crowd, truth):
        crowd.change("n", 100).result(20)
        late = crowd.ask()
    assert late.result(20) == 100


@pytest.mark.parametrize("fault", ["cut", "half open"])
def test_no_read_is_older_than_agreed_for_having_waited_for_a_fetch_while_the_link_was_broken(
    proxy: FaultProxy, gather: Callable[[float], Crowd], truth: Truth, fault: str
) -> None:
    longest = 0.4
    crowd = gather(longest)
    with fetching(proxy, crowd, truth):
        if fault == "cut":
            proxy.cut(carrying="SUBSCRIBE")
            servers.wait_until(lambda: crowd.store.nearcache.stats().drops == 1, "everything is dropped")
        else:
            proxy.blackhole(carrying="SUBSCRIBE")
        newest = truth.change()  # nobody hears of that
        changed = time.monotonic()
        servers.wait_until(lambda: time.monotonic() > changed + longest, "nobody may read what was before")
        late = crowd.ask()
        # It has asked by then, or waits for what is held; if it came later still it would only be the newer.
        servers.wait_until(lambda: late.done() or time.monotonic() > changed + longest + 0.2, "it has asked")
    assert late.result(20) == newest


def test_who_waits_for_a_fetch_that_is_given_up_reads_all_the_same(
    proxy: FaultProxy, prefix: str, truth: Truth
) -> None:
    async def scene() -> None:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0, max_staleness=LONG) as store:
            state, stats = store.conversation("c").state, store.nearcache.stats
            while not stats().hits:
                await state.get("n")
            store.nearcache.clear()
            with proxy.hold_replies(matching=runs("record_read")):
                first = asyncio.create_task(state.get("n"))
                others = [asyncio.create_task(state.get("n")) for _ in range(10)]
                await asyncio.to_thread(proxy.wait_for, held=1)
                first.cancel()
                await asyncio.wait({first})
            assert await asyncio.gather(*others) == [truth.newest] * 10

    asyncio.run(scene())


def test_a_change_that_was_refused_before_it_was_sent_has_no_message_passed_over(
    gather: Callable[[float], Crowd], truth: Truth
) -> None:
    crowd = gather(LONG)
    from_memory(crowd.store, crowd.read)
    with pytest.raises(errors.InvalidInput):
        crowd.change("other", 1, op_id="").result(20)
    from_memory(crowd.store, crowd.read)
    heard(crowd.store, truth.change)
    assert crowd.read() == truth.newest


def test_a_change_that_was_given_up_while_it_waited_for_its_turn_has_no_message_passed_over(
    proxy: FaultProxy, prefix: str, truth: Truth
) -> None:
    async def scene() -> None:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0, max_staleness=LONG) as store:
            state, stats = store.conversation("c").state, store.nearcache.stats
            while not stats().hits:
                await state.get("n")
            with proxy.hold_replies(matching=runs("state_set")):
                changes = [asyncio.create_task(state.set("other", number)) for number in range(65)]
                await asyncio.to_thread(proxy.wait_for, held=1)
                changes[-1].cancel()
                await asyncio.wait({changes[-1]})
            await asyncio.gather(*changes[:-1])
            hits = stats().hits
            while stats().hits == hits:
                await state.get("n")
            await asyncio.to_thread(heard, store, truth.change)
            assert await state.get("n") == truth.newest

    asyncio.run(scene())


def test_a_change_of_another_process_shows_at_the_latest_when_one_of_this_process_that_was_under_way_is_answered(
    proxy: FaultProxy, gather: Callable[[float], Crowd], truth: Truth
) -> None:
    crowd = gather(LONG)
    crowd.change("other", 1).result(20)
    overlapped = 0
    for number in range(5):
        from_memory(crowd.store, crowd.read)
        asked = proxy.stats.requests
        proxy.delay(0.1, direction="requests", matching=runs("state_set"))
        own = crowd.change("other", number)
        proxy.wait_for(requests=asked + 1)
        heard(crowd.store, truth.change)
        overlapped += not own.done()
        own.result(20)
        assert crowd.read() == truth.newest
        proxy.heal()
    assert overlapped
