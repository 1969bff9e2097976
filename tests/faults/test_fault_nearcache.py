"""The near cache while messages are late or lost, its link breaks, and others change the server past redstate.

Another process is played by a store on another address of the same server: it shares no memory with the one under
test, which is reached through the proxy.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import servers
from nearcache_reads import Truth, bypassed, from_memory, heard, runs, subscribed, tells_of

from redstate import Store, errors
from redstate.testing.proxy import FaultProxy

LONG = 30.0  # a max_staleness that no test lasts, so that it is not what puts anything right


@pytest.fixture
def open_reader(proxy: FaultProxy, open_store: Callable[..., Any]) -> Callable[[float], Any]:
    """Opens the store under test with a ``max_staleness``, through the proxy."""
    return lambda longest: open_store(proxy.url, timeout=20.0, max_staleness=longest)


def bystanders(store: Any) -> None:
    """Further copies, so that the auditor does not come by every one at once."""
    for number in range(20):
        from_memory(store, lambda number=number: store.conversation(f"bystander {number}").state.get("n"))


def reads_of(store: Any) -> Callable[[], Any]:
    state = store.conversation("c").state
    return lambda: state.get("n")


# 19: a fill lands after its invalidation ------------------------------------------------------------------------------

Scene = tuple[str, Callable[[Any, int], Any], Callable[[Any], Any]]
FILLS: dict[str, Scene] = {
    "a conversation": (
        "record_read",
        lambda store, n: store.conversation("c").state.set("n", n),
        lambda store: store.conversation("c").state.get("n"),
    ),
    "a customer": (
        "record_read",
        lambda store, n: store.customer("c").update(n=n),
        lambda store: store.customer("c").get("n"),
    ),
    "a cached value": (
        "cache_get",
        lambda store, n: store.cache.set("c", n),
        lambda store: store.cache.get("c"),
    ),
}


@pytest.mark.parametrize("of", FILLS)
def test_a_fill_that_lands_after_its_invalidation_is_not_kept(
    proxy: FaultProxy, open_reader: Callable[[float], Any], elsewhere: Store, of: str
) -> None:
    script, change, read = FILLS[of]
    change(elsewhere, 1)
    store = open_reader(LONG)
    assert from_memory(store, lambda: read(store)) == 1
    heard(store, lambda: change(elsewhere, 2))
    with ThreadPoolExecutor(1) as pool:
        with proxy.hold_replies(matching=runs(script)):
            late = pool.submit(read, store)
            proxy.wait_for(held=1)
            heard(store, lambda: change(elsewhere, 3))
        assert late.result(20) == 2  # it was asked for before the change
    assert read(store) == 3
    assert store.nearcache.stats().late_fills == 1
    assert from_memory(store, lambda: read(store)) == 3


def test_of_300_fills_that_race_with_a_change_none_leaves_a_stale_copy(
    proxy: FaultProxy, open_reader: Callable[[float], Any], truth: Truth
) -> None:
    store = open_reader(LONG)
    read = reads_of(store)
    from_memory(store, read)
    proxy.delay((0.0, 0.002), matching=runs("record_read"))
    stale = 0
    with ThreadPoolExecutor(1) as pool:
        for _ in range(300):
            heard(store, truth.change)  # so that the next read has to fetch
            before = proxy.stats.replies
            racing = pool.submit(read)
            proxy.wait_for(replies=before + 1)  # the server has answered it, and the reply is on its way
            heard(store, truth.change)
            racing.result(20)
            stale += pool.submit(read).result(20) != truth.newest
    stats = store.nearcache.stats()
    assert stale == 0
    assert stats.late_fills > 30 and stats.drops == 0


# 20: the subscriber reconnects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_what_a_subscriber_missed_while_it_was_cut_off_is_read_anew(
    proxy: FaultProxy, open_reader: Callable[[float], Any], elsewhere: Store, reset: bool
) -> None:
    store = open_reader(LONG)
    names = [f"c{number}" for number in range(20)]
    states = [store.conversation(name).state for name in names]
    for name in names:
        elsewhere.conversation(name).state.set("n", 1)
    for state in states:
        from_memory(store, lambda state=state: state.get("n"))
    proxy.refuse()
    assert proxy.cut(carrying="SUBSCRIBE", reset=reset) == 1
    servers.wait_until(lambda: store.nearcache.stats().drops == 1, "everything is dropped")
    before = bypassed(store, "disconnected")
    for name in names:
        elsewhere.conversation(name).state.set("n", 2)  # nobody hears of that
    assert [state.get("n") for state in states[:10]] == [2] * 10
    stats = store.nearcache.stats()
    assert (stats.serving, stats.entries, bypassed(store, "disconnected")) == (False, 0, before + 10)
    proxy.heal()
    servers.wait_until(lambda: store.nearcache.stats().serving, "memory serves again")
    assert [state.get("n") for state in states] == [2] * 20
    for state in states:
        assert from_memory(store, lambda state=state: state.get("n")) == 2
    stats = store.nearcache.stats()
    assert (stats.drops, stats.reconnects) == (1, 1)
    heard(store, lambda: elsewhere.conversation("c0").state.set("n", 3))
    assert states[0].get("n") == 3


def test_reads_are_never_older_than_agreed_however_often_the_subscriber_is_cut(
    proxy: FaultProxy, open_reader: Callable[[float], Any], truth: Truth
) -> None:
    longest, chance = 0.5, random.Random(20)
    store = open_reader(longest)
    read = reads_of(store)
    for cuts in range(1, 7):
        from_memory(store, read)
        for _ in range(chance.randrange(1, 20)):
            truth.change()
            assert truth.behind(read) < longest
        proxy.cut(carrying="SUBSCRIBE", reset=chance.random() < 0.5)
        servers.wait_until(
            lambda cuts=cuts: truth.behind(read) < longest and store.nearcache.stats().drops == cuts,
            "everything is dropped",
        )
        assert read() == truth.newest
    assert from_memory(store, read) == truth.newest
    assert store.nearcache.stats().reconnects == 6


# 21: the link is half open --------------------------------------------------------------------------------------------


def test_memory_is_off_in_time_when_the_link_is_half_open_and_on_again_when_it_is_healed(
    proxy: FaultProxy, open_reader: Callable[[float], Any], truth: Truth
) -> None:
    longest = 0.6
    store = open_reader(longest)
    read, stats = reads_of(store), store.nearcache.stats
    from_memory(store, read)
    made = time.monotonic()
    # Whatever is fetched later may live longer than the last heartbeat allows.
    servers.wait_until(lambda: time.monotonic() - stats().echo_age > made, "a further heartbeat came back")
    before = bypassed(store, "silent", "disconnected")
    proxy.blackhole(carrying="SUBSCRIBE")
    silent = time.monotonic()
    truth.change()

    def is_dropped() -> bool:
        hits, began = stats().hits, time.monotonic()
        assert truth.behind(read) < longest
        assert stats().hits == hits or began - silent < longest
        return bool(stats().drops)

    servers.wait_until(is_dropped, "everything is dropped")
    assert bypassed(store, "silent", "disconnected") > before
    for _ in range(5):
        assert read() == truth.newest
        truth.change()
    assert not stats().serving
    proxy.heal()
    assert from_memory(store, read) == truth.newest
    assert stats().reconnects > 0
    heard(store, truth.change)
    assert read() == truth.newest


# 25: a message is lost on a healthy link ------------------------------------------------------------------------------


def test_a_lost_message_leaves_a_read_behind_for_no_longer_than_agreed(
    proxy: FaultProxy, open_reader: Callable[[float], Any], truth: Truth
) -> None:
    longest = 0.5
    store = open_reader(longest)
    read = reads_of(store)
    bystanders(store)
    from_memory(store, read)
    proxy.drop_pushes(1, matching=tells_of(truth.key))
    truth.change()
    proxy.wait_for(dropped=1)

    def is_right() -> bool:
        assert truth.behind(read) < longest
        return bool(read() == truth.newest)

    servers.wait_until(is_right, "the copy is given up")
    assert from_memory(store, read) == truth.newest
    assert store.nearcache.stats().drops == 0


@pytest.mark.parametrize("of", ["a conversation", "a cached value"])
def test_the_auditor_finds_a_copy_that_missed_its_message(
    proxy: FaultProxy, open_reader: Callable[[float], Any], elsewhere: Store, of: str
) -> None:
    longest = 2.0
    _, change, read = FILLS[of]
    change(elsewhere, 1)
    store = open_reader(longest)
    from_memory(store, lambda: read(store))
    proxy.drop_pushes(1, matching=lambda kind, parts: kind == b"message" and b"{beat:" not in parts[0])
    change(elsewhere, 2)
    lost = time.monotonic()
    servers.wait_until(lambda: store.nearcache.stats().audit_mismatches == 1, "the auditor has found it")
    assert time.monotonic() - lost < longest
    assert read(store) == 2
    assert from_memory(store, lambda: read(store)) == 2
    stats = store.nearcache.stats()
    assert (stats.drops, stats.audit_mismatches, proxy.stats.dropped) == (0, 1, 1)


def test_the_auditor_finds_nothing_where_nothing_was_lost(
    open_reader: Callable[[float], Any], elsewhere: Store
) -> None:
    store = open_reader(0.25)
    conversation, customer = store.conversation("c", customer_id="p"), store.customer("p")
    conversation.session.login("user", idle=60)
    elsewhere.cache.set("k", [1], tags=["t"])
    turn = 0

    def enough() -> bool:
        nonlocal turn
        turn += 1
        conversation.state.update(n=turn, items=[turn])
        conversation.state.append("items", turn)
        conversation.if_logged_in.cart.add("sku", 1, "9.99", attributes={"turn": turn})
        conversation.session.touch()
        customer.increment("n")
        elsewhere.customer("p").link(f"c{turn % 5}")
        if turn % 3 == 0:
            elsewhere.conversation("c").state.delete("items")
        for read in (conversation.state.all, conversation.cart.lines, customer.all, customer.conversations):
            from_memory(store, read)
        assert from_memory(store, lambda: store.cache.get("k")) == [1]
        return store.nearcache.stats().audits >= 12

    servers.wait_until(enough, "the auditor has looked often")
    assert store.nearcache.stats().audit_mismatches == 0


# 26: others delete, replace and expire keys past redstate -------------------------------------------------------------


@pytest.mark.parametrize("way", ["FLUSHALL", "DEL"])
def test_what_others_delete_is_gone_from_memory_within_the_agreed_time(
    own_server: servers.RunningServer, open_store: Callable[..., Any], prefix: str, way: str
) -> None:
    longest = 0.5
    store = open_store(own_server.url, timeout=20.0, max_staleness=longest)
    for _, change, _ in FILLS.values():
        change(store, 1)
    for _, _, read in FILLS.values():
        assert from_memory(store, lambda read=read: read(store)) == 1
    bystanders(store)
    keys = (f"{prefix}:{{{kind}:c}}" for kind in ("conv", "cust", "cache"))
    assert own_server.command(*([way] if way == "FLUSHALL" else [way, *keys]))
    gone = time.monotonic()
    for _, _, read in FILLS.values():

        def is_right(read: Callable[[Any], Any] = read) -> bool:
            began = time.monotonic()
            found = read(store)
            assert found is None or (found == 1 and began - gone < longest)
            return found is None

        servers.wait_until(is_right, "the copy is given up")
    for _, change, read in FILLS.values():
        change(store, 2)
        assert from_memory(store, lambda read=read: read(store)) == 2
    assert store.nearcache.stats().drops == 0


def test_a_record_that_others_replaced_by_another_type_is_found_and_the_link_stays(
    own_server: servers.RunningServer, open_store: Callable[..., Any]
) -> None:
    store = open_store(own_server.url, timeout=20.0, max_staleness=2.0)
    conversation = store.conversation("c")
    conversation.state.set("n", 1)
    assert from_memory(store, lambda: conversation.state.get("n")) == 1
    own_server.command("SET", conversation.key, "not a hash")
    servers.wait_until(
        lambda: store.nearcache.stats().audit_mismatches or store.nearcache.stats().drops, "the auditor has found it"
    )
    assert (store.nearcache.stats().audit_mismatches, store.nearcache.stats().drops) == (1, 0)
    with pytest.raises(errors.CorruptState):
        conversation.state.get("n")


def expiring_record(store: Store, raw: redis.Redis) -> None:
    store.conversation("c").state.set("n", 1)
    raw.pexpire(store.conversation("c").key, 500)


Expiring = tuple[Callable[[Store, redis.Redis], Any], Callable[[Any, bool], Any]]
EXPIRING: dict[str, Expiring] = {
    "a record": (expiring_record, lambda store, fresh: store.conversation("c").state.get("n", fresh=fresh)),
    "a cached value": (
        lambda store, raw: store.cache.set("k", 1, ttl=0.5),
        lambda store, fresh: store.cache.get("k", fresh=fresh),
    ),
    "a session": (
        lambda store, raw: store.conversation("c").session.login("user", ttl=0.5),
        lambda store, fresh: store.conversation("c").session.user(fresh=fresh),
    ),
    "the idle time of a session": (
        lambda store, raw: store.conversation("c").session.login("user", idle=0.5),
        lambda store, fresh: store.conversation("c").session.user(fresh=fresh),
    ),
}


@pytest.mark.parametrize("of", EXPIRING)
def test_nothing_is_served_after_its_expiry_however_long_copies_may_live(
    open_reader: Callable[[float], Any], elsewhere: Store, server: Any, of: str
) -> None:
    expire, read = EXPIRING[of]
    store = open_reader(LONG)
    subscribed(store, lambda: read(store, False))
    with redis.Redis.from_url(server.url) as raw:
        heard(store, lambda: expire(elsewhere, raw))
    assert from_memory(store, lambda: read(store, False))
    while read(elsewhere, True):
        pass
    assert not read(store, False)
