"""How the near cache is bounded, shared, subscribed and ended, and what it says of itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import servers

from redstate import AsyncStore, Store, errors


def listeners(prefix: str) -> int:
    """How many threads of this process listen for a prefix."""
    return sum(thread.name == f"redstate-near-cache-{prefix}" for thread in threading.enumerate())


def subscribed(raw: redis.Redis, prefix: str) -> set[str]:
    """What processes subscribe to under a prefix, but for their heartbeats."""
    channels = {channel.decode() for channel in raw.pubsub_channels(f"{prefix}:*")}
    return {channel for channel in channels if "{beat:" not in channel}


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_no_more_records_are_kept_than_the_bound_and_the_oldest_used_go(open_store: Any) -> None:
    store = open_store(near_cache_entries=4)
    for number in range(6):
        store.conversation(f"c{number}").state.set("a", number)
        store.conversation(f"c{number}").state.get("a")
        store.conversation("c0").state.get("a")  # stays in use
    stats = store.nearcache.stats()
    assert (stats.entries, stats.evictions) == (4, 2)
    hits = stats.hits
    assert store.conversation("c0").state.get("a") == 0
    assert store.nearcache.stats().hits == hits + 1


def test_no_more_bytes_are_kept_than_the_bound(open_store: Any) -> None:
    store = open_store(near_cache_entries=1_000, near_cache_bytes=65_536)
    for number in range(40):
        conversation = store.conversation(f"c{number}")
        conversation.state.set("text", "x" * 4_000)
        assert conversation.state.get("text") == "x" * 4_000
    assert 40_000 < store.nearcache.stats().bytes <= 65_536
    assert store.nearcache.stats().evictions > 20


def test_a_record_too_large_for_its_share_is_read_from_the_server(open_store: Any) -> None:
    store = open_store(near_cache_bytes=65_536)
    state = store.conversation("large").state
    state.set("text", "x" * 10_000)
    for _ in range(3):
        assert state.get("text") == "x" * 10_000
    stats = store.nearcache.stats()
    assert (stats.bytes, stats.hits) == (0, 0)
    assert stats.bypasses["too large"] >= 1
    state.set("text", "small")
    assert state.get("text") == state.get("text") == "small"


# Subscriptions --------------------------------------------------------------------------------------------------------


def test_a_process_subscribes_to_what_it_holds_and_no_more(
    open_store: Any, raw: redis.Redis, prefix: str, contract_kind: str
) -> None:
    store = open_store(near_cache_entries=3, max_staleness=0.5)
    for number in range(9):
        store.conversation(f"c{number}").state.get("a")
    held = {store.conversation(f"c{number}").key for number in (6, 7, 8)}
    servers.wait_until(lambda: subscribed(raw, prefix) == held, "what was evicted is subscribed to no longer")


def test_an_evicted_record_that_is_read_again_is_kept_and_heard_of_again(open_store: Any, prefix: str) -> None:
    store = open_store(near_cache_entries=2, max_staleness=0.5)
    for _ in range(30):
        for number in range(3):
            store.conversation(f"c{number}").state.get("a")
    state, other = store.conversation("c1").state, open_store(key_prefix=prefix, max_staleness=0)
    state.get("a")
    other.conversation("c1").state.set("a", 1)
    servers.wait_until(lambda: state.get("a") == 1, "the change is heard of", timeout=0.4)


# One for all stores of a process --------------------------------------------------------------------------------------


def test_stores_of_both_colours_share_one_near_cache(contract_url: str, prefix: str, open_store: Any) -> None:
    sync, loop = Store.from_url(contract_url, key_prefix=prefix), open_store()
    sync.conversation("c").state.set("a", 1)
    assert sync.conversation("c").state.get("a") == 1
    hits = loop.nearcache.stats().hits
    assert loop.conversation("c").state.get("a") == 1
    assert loop.nearcache.stats().hits == hits + 1
    loop.conversation("c").state.set("a", 2)
    assert sync.conversation("c").state.get("a") == 2
    assert listeners(prefix) == 1
    loop.close()
    assert sync.conversation("c").state.get("a") == 2
    sync.close()
    servers.wait_until(lambda: listeners(prefix) == 0, "the listener ends with the last store")


def test_stores_of_another_prefix_have_another_near_cache(open_store: Any, prefix: str) -> None:
    one, other = open_store(), open_store(key_prefix=f"{prefix}-2")
    one.conversation("c").state.set("a", 1)
    one.conversation("c").state.get("a")
    assert (one.nearcache.stats().entries, other.nearcache.stats().entries) == (1, 0)


def test_each_store_keeps_its_own_bound_on_staleness(open_store: Any) -> None:
    lax, strict = open_store(max_staleness=60.0), open_store(max_staleness=0.05)
    state, same = lax.conversation("c").state, strict.conversation("c").state
    state.set("a", 1)
    state.get("a")
    copy = lax.conversation("c")._record.held()
    servers.wait_until(lambda: strict.conversation("c")._record.held() is None, "it is too old for one")
    assert lax.conversation("c")._record.held() is copy
    assert same.get("a") == 1


def test_a_store_that_is_closed_serves_nothing_from_memory(open_store: Any) -> None:
    store, other = open_store(), open_store()
    state = store.conversation("c").state
    state.set("a", 1)
    state.get("a")
    store.close()
    with pytest.raises(errors.StoreClosed):
        state.get("a")
    assert other.conversation("c").state.get("a") == 1


def test_a_store_that_was_dropped_without_closing_ends_its_listener(contract_url: str, prefix: str) -> None:
    Store.from_url(contract_url, key_prefix=prefix).conversation("c").state.get("a")
    servers.wait_until(lambda: listeners(prefix) == 0, "the listener has ended")


def test_a_store_that_only_writes_has_no_listener(open_store: Any, prefix: str) -> None:
    open_store().conversation("c").state.set("a", 1)
    assert listeners(prefix) == 0


def test_without_staleness_every_read_asks_the_server(open_store: Any, prefix: str) -> None:
    store = open_store(max_staleness=0)
    state = store.conversation("c").state
    state.set("a", 1)
    assert state.get("a") == state.get("a") == 1
    stats = store.nearcache.stats()
    assert (stats.hits, stats.misses, stats.bypasses["off"]) == (0, 0, 2)
    assert listeners(prefix) == 0


# What it says ---------------------------------------------------------------------------------------------------------


def test_the_stats_tell_whether_it_serves_and_how_far_behind_it_is(open_store: Any) -> None:
    store = open_store(max_staleness=0.5)
    assert store.nearcache.stats().echo_age is None
    store.conversation("c").state.get("a")
    stats = store.nearcache.stats()
    assert stats.serving and 0 <= stats.echo_age < 0.5
    assert 0 < stats.lag_median <= stats.lag_p99 < 0.5
    store.conversation("c").state.set("a", 1)
    servers.wait_until(lambda: store.nearcache.stats().invalidations == 1, "its own message has come")
    servers.wait_until(lambda: store.nearcache.stats().audits >= 2, "copies are audited")
    stats = store.nearcache.stats()
    assert (stats.audit_mismatches, stats.reconnects, stats.drops, stats.unheld) == (0, 0, 0, 0)


def test_the_stats_can_be_asked_for_while_threads_read(contract_url: str, prefix: str) -> None:
    with Store.from_url(contract_url, key_prefix=prefix) as store:
        states = [store.conversation(f"c{number}").state for number in range(20)]
        over, failures = threading.Event(), []

        def read() -> None:
            try:
                while not over.is_set():
                    for state in states:
                        state.get("a")
            except Exception as error:  # noqa: BLE001 - the test says it
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            assert store.nearcache.stats().entries <= 20
            store.nearcache.clear()
        over.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.nearcache.stats().hits > 0


def test_a_user_who_may_not_subscribe_is_told_once_and_reads_from_the_server(
    contract_kind: str, colour: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # reads do not wait for a subscription that never comes
    from contract.facade import Stores

    stores = Stores(colour)
    with servers.with_user("~*", "&*", "+@all", "-subscribe", kind=contract_kind, password="pw") as running:
        store = stores.open(running.tcp_url.replace("redis://", "redis://app:pw@"))
        state = store.conversation("c").state
        state.set("a", 1)

        def warned() -> list[str]:
            state.get("a")
            return [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]

        servers.wait_until(lambda: len(warned()) == 1, "it is said")
        assert "The near cache is off" in warned()[0]
        assert "subscribe" in warned()[0]
        assert state.get("a") == 1
        assert store.nearcache.stats().bypasses["disconnected"] > 1
        assert not store.nearcache.stats().serving
        stores.close()


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"max_staleness": -1},
        {"max_staleness": 0.01},
        {"max_staleness": float("nan")},
        {"max_staleness": "3"},
        {"max_staleness": True},
        {"near_cache_entries": 0},
        {"near_cache_entries": 1.5},
        {"near_cache_bytes": 1_000},
        {"customer_sync": "push"},
    ],
)
@pytest.mark.parametrize("make", [Store.from_url, AsyncStore.from_url])
def test_a_setting_that_cannot_work_is_named(make: Callable[..., Any], option: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match=next(iter(option))):
        make("redis://localhost:1", **option)


def test_the_settings_come_from_the_environment(contract_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSTATE_URL", contract_url)
    monkeypatch.setenv("REDSTATE_MAX_STALENESS", "1.5")
    monkeypatch.setenv("REDSTATE_NEAR_CACHE_ENTRIES", "7")
    with Store.from_env(key_prefix="environment") as store:
        assert "1.5 s" in repr(store.nearcache)
        assert store.nearcache.local.copies.most_entries == 7
    monkeypatch.setenv("REDSTATE_NEAR_CACHE_BYTES", "many")
    with pytest.raises(errors.ConfigurationError, match="REDSTATE_NEAR_CACHE_BYTES"):
        Store.from_env()
