"""Customers in step: every process that watches a customer is told of its changes, and reads what others wrote."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from redstate import AsyncStore, CustomerChange, Store, errors

WORKER = Path(__file__).with_name("watch_worker.py")


class Told:
    """What a callback in this process was told, from whatever thread."""

    def __init__(self) -> None:
        self.changes: list[CustomerChange] = []
        self._came = threading.Condition()

    def __call__(self, change: CustomerChange) -> None:
        with self._came:
            self.changes.append(change)
            self._came.notify_all()

    def wait(self, count: int, timeout: float = 10.0) -> list[CustomerChange]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.changes) >= count, timeout), f"told of {len(self.changes)}"
        return self.changes


@pytest.fixture
def other_url(contract_url: str) -> str:
    """The same server by another address: a store that is opened on it shares no memory with those under test."""
    with redis.Redis.from_url(contract_url) as client:
        return f"redis://127.0.0.1:{client.config_get('port')['port']}"


@pytest.fixture
def other(other_url: str, prefix: str) -> Iterator[Store]:
    """A store as another process would have it."""
    with Store.from_url(other_url, key_prefix=prefix, max_staleness=0) as store:
        yield store


@pytest.fixture
def watcher(contract_url: str) -> Iterator[Store]:
    """A blocking store, for what is told in threads."""
    with Store.from_url(contract_url, key_prefix="told") as store:
        yield store


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_another_process_is_told_of_each_change_with_versions_and_fields(
    contract_url: str, prefix: str, other: Store, kind: str
) -> None:
    customer = other.customer("cust_9")
    first = customer.update(tier="silver", points=1)
    with subprocess.Popen(
        [sys.executable, str(WORKER), contract_url, prefix, kind, "cust_9"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None and worker.stdin is not None
        assert worker.stdout.readline() == "ready\n"
        second = customer.update(tier="gold")
        assert json.loads(worker.stdout.readline()) == ["cust_9", first, second, {"tier": "gold"}, []]
        customer.state.delete("points")
        third = customer.version()
        assert json.loads(worker.stdout.readline()) == ["cust_9", second, third, {}, ["points"]]
        customer.delete()
        told = json.loads(worker.stdout.readline())
        assert (told[1], told[3], told[4]) == (third, {}, ["tier"])
        worker.stdin.close()
        assert worker.wait(10) == 0


def test_the_process_that_changes_a_customer_is_told_too(watcher: Store) -> None:
    told = Told()
    customer = watcher.customer("cust_1")
    with customer.on_change(told):
        version = customer.update(tier="gold")
        (change,) = told.wait(1)
    assert (change.customer_id, change.old_version, change.new_version) == ("cust_1", 0, version)
    assert change.changed == {"tier": "gold"}


def test_a_change_that_comes_while_the_subscription_is_under_way_is_told(watcher: Store) -> None:
    for number in range(20):
        told, customer = Told(), watcher.customer(f"early_{number}")
        with customer.on_change(told):
            version = customer.update(n=number)
            assert told.wait(1)[-1].new_version == version


def test_a_conversation_sees_a_siblings_change_at_its_next_read(open_store: Any, other: Store) -> None:
    store = open_store()
    mine = store.conversation("conv_1", customer_id="cust_9").customer
    sibling = store.conversation("conv_2", customer_id="cust_9").customer
    mine.update(tier="silver")
    assert (mine.get("tier"), sibling.get("tier")) == ("silver", "silver")
    sibling.update(tier="gold")
    assert mine.get("tier") == "gold"
    other.conversation("conv_3", customer_id="cust_9").customer.update(tier="platinum")
    servers.wait_until(lambda: mine.get("tier") == "platinum", "it is heard of", timeout=1.0)


@pytest.mark.parametrize("strategy", ["invalidate", "update"])
def test_a_customer_that_others_change_is_fetched_at_the_next_read_or_at_once(
    contract_url: str, prefix: str, other: Store, strategy: str
) -> None:
    with Store.from_url(contract_url, key_prefix=prefix, customer_sync=strategy) as store:
        customer = store.customer("cust_9")
        other.customer("cust_9").update(n=0)
        assert customer.get("n") == 0
        misses = store.nearcache.stats().misses
        other.customer("cust_9").update(n=1)
        if strategy == "update":
            servers.wait_until(lambda: store.nearcache.stats().misses == misses + 1, "it is fetched without a read")
            assert customer.state.peek("n") == 1
        else:
            servers.wait_until(lambda: customer._record.held() is None, "it is dropped")
            assert store.nearcache.stats().misses == misses
        assert customer.get("n") == 1


def test_a_watched_customer_is_read_from_memory_right_after_it_was_told(watcher: Store, other_url: str) -> None:
    told, customer = Told(), watcher.customer("cust_2")
    with Store.from_url(other_url, key_prefix="told", max_staleness=0) as elsewhere, customer.on_change(told):
        elsewhere.customer("cust_2").update(n=1)
        told.wait(1)
        customer.get("n")
        elsewhere.customer("cust_2").update(n=2)
        told.wait(2)
        assert customer.state.peek("n") == 2


def test_a_lost_message_is_made_up_for_within_the_bound(contract_url: str, raw: redis.Redis) -> None:
    told = Told()
    with Store.from_url(contract_url, key_prefix="lost", max_staleness=0.2) as store:
        customer = store.customer("cust_3")
        with customer.on_change(told):
            raw.hset(customer.key, mapping={"v": "1795000000000000", "sn": "1", "k": b"\x00n"})  # and nobody is told
            assert told.wait(1, timeout=2.0)[0].changed == {"n": 1}


def test_a_callback_that_fails_is_logged_and_told_again(watcher: Store, caplog: pytest.LogCaptureFixture) -> None:
    told, customer = Told(), watcher.customer("cust_4")

    def fails(change: CustomerChange) -> None:
        told(change)
        raise RuntimeError("mine")

    with customer.on_change(fails), caplog.at_level(logging.ERROR, "redstate"):
        customer.update(secret="s3cret")
        told.wait(1)
        customer.update(n=2)
        told.wait(2)
    assert "A callback for changes of" in caplog.text
    assert "RuntimeError: mine" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_watch_that_was_closed_is_told_nothing(watcher: Store) -> None:
    told, still = Told(), Told()
    customer = watcher.customer("cust_5")
    watch = customer.on_change(told)
    with customer.on_change(still):
        watch.close()
        watch.close()
        customer.update(n=1)
        still.wait(1)
    assert told.changes == []


def test_closing_the_store_ends_its_watches(contract_url: str) -> None:
    told = Told()
    store = Store.from_url(contract_url, key_prefix="closing")
    store.customer("cust_6").on_change(told)
    store.close()
    with Store.from_url(contract_url, key_prefix="closing") as later:
        later.customer("cust_6").update(n=1)
    servers.wait_until(
        lambda: not any(thread.name == "redstate-near-cache-closing" for thread in threading.enumerate()),
        "it has ended",
    )
    assert told.changes == []


def test_what_cannot_be_called_is_refused(watcher: Store, contract_url: str) -> None:
    async def awaited(change: CustomerChange) -> None: ...

    with pytest.raises(errors.InvalidInput, match="cannot await"):
        watcher.customer("c").on_change(awaited)
    with pytest.raises(errors.InvalidInput, match="must be a function"):
        watcher.customer("c").on_change("print")


def test_a_customer_can_be_watched_without_a_near_cache(contract_url: str, other: Store, prefix: str) -> None:
    told = Told()
    with Store.from_url(contract_url, key_prefix=prefix, max_staleness=0) as store:
        with store.customer("cust_7").on_change(told):
            other.customer("cust_7").update(n=1)
            assert told.wait(1, timeout=2.0)[0].changed == {"n": 1}


def test_an_asyncio_callback_runs_in_the_loop_of_its_store(contract_url: str, other: Store, prefix: str) -> None:
    import asyncio

    async def watch() -> tuple[asyncio.AbstractEventLoop, CustomerChange]:
        came: asyncio.Queue[tuple[asyncio.AbstractEventLoop, CustomerChange]] = asyncio.Queue()

        async def callback(change: CustomerChange) -> None:
            await came.put((asyncio.get_running_loop(), change))

        async with AsyncStore.from_url(contract_url, key_prefix=prefix) as store:
            with await store.customer("cust_8").on_change(callback):
                await asyncio.to_thread(other.customer("cust_8").update, n=1)
                loop, change = await asyncio.wait_for(came.get(), 5)
                assert loop is asyncio.get_running_loop()
                return loop, change

    assert asyncio.run(watch())[1].changed == {"n": 1}
