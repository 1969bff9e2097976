"""What is read from memory, what goes past it, and that a process always sees its own changes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis
from contract.records import Record

from redstate import UNCACHED, Step, Store, Workflow

BOOKING = Workflow("booking", [Step("dates", next="done", collects={"nights": int}), Step("done", final=True)])


@dataclass
class Shop:
    name: str = ""
    left: int = 0


def prepared(store: Any) -> Any:
    """A conversation that has something of everything."""
    conversation = store.conversation("conv_123")
    conversation.state.update(text="hello", n=5, prefs={"lang": "en"}, name="Ada", left=3)
    conversation.cart.add("tea", 2, "1.50")
    conversation.session.login("user-7", username="ada")
    conversation.workflow(BOOKING).collect(nights=2)
    customer = store.customer("cust_9")
    customer.update(tier="gold")
    customer.link("conv_123")
    customer.add_history("called")
    store.cache.set("product", {"price": 3}, tags=["shop"])
    return conversation


READS: dict[str, Callable[[Any, Any], Any]] = {
    "state.get": lambda store, conversation: conversation.state.get("text"),
    "state.get of a number": lambda store, conversation: conversation.state.get("n"),
    "state.get of a dict": lambda store, conversation: conversation.state.get("prefs").copy(),
    "state.get of nothing": lambda store, conversation: conversation.state.get("nothing"),
    "state.all": lambda store, conversation: conversation.state.all(),
    "state.has": lambda store, conversation: conversation.state.has("text"),
    "cart.lines": lambda store, conversation: conversation.cart.lines(),
    "cart.count": lambda store, conversation: conversation.cart.count(),
    "cart.total": lambda store, conversation: conversation.cart.total(fresh=False),
    "cart.orders": lambda store, conversation: conversation.cart.orders(),
    "cart.order": lambda store, conversation: conversation.cart.order("none", fresh=False),
    "session.user": lambda store, conversation: conversation.session.user(fresh=False),
    "session.authenticated": lambda store, conversation: conversation.session.authenticated(fresh=False),
    "workflow.status": lambda store, conversation: conversation.workflow(BOOKING).status().data,
    "typed": lambda store, conversation: store.conversation("conv_123", schema=Shop).typed(),
    "load_state": lambda store, conversation: store.load_state("conv_123"),
    "customer.get": lambda store, conversation: store.customer("cust_9").get("tier"),
    "customer.all": lambda store, conversation: store.customer("cust_9").all(),
    "customer.context": lambda store, conversation: store.customer("cust_9").context(),
    "customer.conversations": lambda store, conversation: store.customer("cust_9").conversations(),
    "customer.history": lambda store, conversation: store.customer("cust_9").history(),
    "cache.get": lambda store, conversation: store.cache.get("product"),
    "cache.get_or_set": lambda store, conversation: store.cache.get_or_set("product", lambda: 1 // 0),
}


def served(store: Any) -> tuple[int, int]:
    """How many reads memory has answered, and how many it has not."""
    stats = store.nearcache.stats()
    return stats.hits, stats.misses + sum(stats.bypasses.values())


@pytest.mark.parametrize("name", READS)
def test_a_read_that_was_made_before_is_answered_from_memory(store: Any, name: str) -> None:
    conversation, read = prepared(store), READS[name]
    first = read(store, conversation)
    hits, others = served(store)
    assert read(store, conversation) == first
    assert served(store)[0] > hits
    assert served(store)[1] == others


@pytest.mark.parametrize("name", READS)
def test_an_answer_from_memory_is_that_of_the_server(store: Any, open_store: Any, name: str) -> None:
    conversation, read = prepared(store), READS[name]
    read(store, conversation)
    asks = open_store(max_staleness=0)
    assert read(store, conversation) == read(asks, asks.conversation("conv_123"))


FRESH: dict[str, Callable[[Any, Any], Any]] = {
    "state.get": lambda store, conversation: conversation.state.get("text", fresh=True) == "changed",
    "state.all": lambda store, conversation: conversation.state.all(fresh=True)["text"] == "changed",
    "cart.count": lambda store, conversation: conversation.cart.count(fresh=True) == 9,
    "cart.lines": lambda store, conversation: conversation.cart.lines(fresh=True)["tea"].quantity == 9,
    "load_state": lambda store, conversation: store.load_state("conv_123", fresh=True)["text"] == "changed",
    "typed": lambda store, conversation: store.conversation("conv_123", schema=Shop).typed(fresh=True).name == "Bob",
}


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_read_asks_the_server(store: Any, record: Record, name: str) -> None:
    conversation = prepared(store)
    conversation.state.all()
    record.raw.hset(record.key, mapping={"stext": '"changed"', "ctea": "9", "sname": '"Bob"'})
    assert conversation.state.get("text") == "hello"
    assert FRESH[name](store, conversation)


def test_money_and_authentication_are_read_from_the_server_by_default(store: Any, record: Record) -> None:
    conversation = prepared(store)
    conversation.state.all()
    record.raw.hset(record.key, "ctea", "9")
    record.raw.hdel(record.key, "u")
    assert conversation.cart.total(fresh=False) == Decimal("3.00")
    assert conversation.session.authenticated(fresh=False)
    assert conversation.cart.total() == Decimal("13.50")
    assert not conversation.session.authenticated()
    assert conversation.session.user() is None


def test_a_read_of_a_least_version_asks_the_server_where_memory_is_older(store: Any, open_store: Any) -> None:
    conversation = prepared(store)
    conversation.state.all()
    version = conversation.state.set("text", "mine")
    hits, _ = served(store)
    assert conversation.state.get("text", min_version=version) == "mine"
    assert served(store)[0] == hits + 1
    assert conversation.state.get("text", min_version=version + 1) == "mine"
    assert store.nearcache.stats().bypasses["min_version"] == 1


def test_who_has_seen_a_newer_version_is_shown_no_older_one(store: Any, record: Record) -> None:
    conversation = prepared(store)
    assert conversation.state.get("text") == "hello"
    newer = int(record.raw.hget(record.key, "v")) + 1
    record.raw.hset(record.key, mapping={"stext": '"changed"', "v": str(newer)})  # and nobody is told
    assert conversation.state.get("text") == "hello"
    assert conversation.state.get("text", fresh=True) == "changed"
    assert conversation.state.get("text") == "changed"
    assert conversation.state.all()["text"] == "changed"


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda conversation: conversation.state.set("text", "new"),
    "set of a new field": lambda conversation: conversation.state.update(one=1, two=2),
    "increment": lambda conversation: conversation.state.increment("n"),
    "increment of a new field": lambda conversation: conversation.state.increment("counted", 3),
    "append": lambda conversation: conversation.state.append("list", {"a": 1}),
    "delete": lambda conversation: conversation.state.delete("text", "nothing"),
    "edit": lambda conversation: conversation.state.edit("prefs", lambda prefs: {**prefs, "new": True}),
    "setdefault": lambda conversation: conversation.state.setdefault("fresh", [1]),
    "pop": lambda conversation: conversation.state.pop("n"),
    "clear": lambda conversation: conversation.state.clear(),
    "cart.add": lambda conversation: conversation.cart.add("tea", 1),
    "cart.add of a new line": lambda conversation: conversation.cart.add("mug", 1, "9", attributes={"size": "L"}),
    "cart.set_quantity": lambda conversation: conversation.cart.set_quantity("tea", 7),
    "cart.remove": lambda conversation: conversation.cart.remove("tea"),
    "cart.clear": lambda conversation: conversation.cart.clear(),
    "checkout": lambda conversation: conversation.cart.checkout("order-1"),
    "logout": lambda conversation: conversation.session.logout(),
    "session.touch": lambda conversation: conversation.session.touch(),
    "workflow": lambda conversation: conversation.workflow(BOOKING).advance(),
    "guarded": lambda conversation: conversation.if_logged_in.state.set("text", "guarded"),
    "delete all": lambda conversation: conversation.delete(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_process_reads_its_own_change_at_once(store: Any, open_store: Any, name: str) -> None:
    conversation = prepared(store)
    conversation.state.all()
    CHANGES[name](conversation)
    asks = open_store(max_staleness=0).conversation("conv_123")
    for handle in (conversation, store.conversation("conv_123")):
        assert handle.state.all() == asks.state.all()
        assert list(handle.state.all()) == list(asks.state.all())
        assert handle.cart.lines() == asks.cart.lines()
        assert handle.session.user(fresh=False) == asks.session.user()
        assert handle.workflow(BOOKING).status() == asks.workflow(BOOKING).status()


@pytest.mark.parametrize("name", ["set", "increment", "append", "delete", "edit", "cart.add", "cart.set_quantity"])
def test_a_change_of_what_is_in_memory_is_made_there_too(store: Any, name: str) -> None:
    conversation = prepared(store)
    conversation.state.all()
    misses = store.nearcache.stats().misses
    CHANGES[name](conversation)
    conversation.state.all()
    conversation.cart.lines()
    assert store.nearcache.stats().misses == misses


def test_a_change_on_top_of_anothers_is_not_made_in_memory_without_that(
    store: Any, record: Record, raw: redis.Redis
) -> None:
    conversation = prepared(store)
    conversation.state.all()
    newer = int(raw.hget(record.key, "v")) + 1
    raw.hset(record.key, mapping={"sname": '"Bob"', "v": str(newer)})  # and nobody is told
    conversation.state.set("text", "mine")
    assert conversation.state.get("name") == "Bob"


def test_what_a_cached_value_was_set_to_is_read_at_once(store: Any) -> None:
    store.cache.set("product", 1, tags=["shop"])
    assert store.cache.get("product") == store.cache.get("product") == 1
    store.cache.set("product", 2, tags=["shop"])
    assert store.cache.get("product") == 2
    store.cache.invalidate_tag("shop")
    assert store.cache.get("product") is None
    assert store.cache.get_or_set("product", lambda: 3) == store.cache.get("product") == 3
    store.cache.delete("product")
    assert store.cache.get("product") is None


def test_a_peek_is_answered_from_memory_or_not_at_all(store: Any) -> None:
    conversation = prepared(store)
    other = store.conversation("conv_123").state
    assert other.peek("text") is UNCACHED
    conversation.state.all()
    assert (other.peek("text"), other.peek("n"), other.peek("nothing")) == ("hello", 5, None)
    assert other.peek("nothing", "default") == "default"
    prefs = other.peek("prefs")
    prefs["lang"] = "changed"
    assert other.peek("prefs") == {"lang": "en"}
    store.nearcache.clear()
    assert other.peek("text") is UNCACHED


def test_a_copy_that_was_forgotten_is_read_anew(store: Any, record: Record) -> None:
    conversation = prepared(store)
    conversation.state.all()
    record.raw.hset(record.key, "stext", '"changed"')
    assert conversation.state.get("text") == "hello"
    store.nearcache.forget("conv_123")
    assert conversation.state.get("text") == "changed"


def test_a_least_version_counts_also_for_what_is_fetched_for_it(store: Any) -> None:
    conversation = prepared(store)
    bypasses = store.nearcache.stats().bypasses.get("min_version", 0)
    version = conversation.version()
    assert conversation.state.get("text", min_version=version + 10**6) == "hello"
    assert store.nearcache.stats().bypasses["min_version"] == bypasses + 1


def test_who_has_seen_that_a_record_is_gone_is_not_shown_it_again(store: Any, record: Record) -> None:
    conversation = prepared(store)
    assert conversation.state.get("text") == "hello"
    record.raw.delete(record.key)
    assert conversation.state.get("text") == "hello"
    assert conversation.state.get("text", fresh=True) is None
    assert conversation.state.get("text") is None


def test_what_code_in_c_takes_out_of_a_live_value_is_its_own(contract_url: str, prefix: str, record: Record) -> None:
    with Store.from_url(contract_url, key_prefix=prefix) as store:
        state = store.conversation("conv_123").state
        state.update(queue=[[1, {"a": "right"}]], nested={"list": [[1]]})
        state.copy()
        heapq.heappop(state["queue"])[1]["a"] = "wrong"
        dict.__getitem__(state["nested"], "list").append("wrong")
        dict.__getitem__(state["nested"], "list")[0].append("wrong")
        assert state["queue"][0][1]["a"] == "right"
        assert state["nested"]["list"] == [[1]]
        assert state.copy() == {"queue": [[1, {"a": "right"}]], "nested": {"list": [[1]]}}


def test_names_that_are_not_there_take_no_room(store: Any) -> None:
    conversation = prepared(store)
    for number in range(100):
        assert conversation.state.get(f"nothing {number}") is None
    assert len(conversation._record.held().values) < 20
