"""What callers do with what the near cache gave them changes no other read: nothing of a copy is handed out."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from contract.facade import Stores
from contract.workflows import BOOKING
from nearcache_reads import from_memory

from redstate import Store

LONG = 30.0  # a max_staleness that no test lasts


@dataclass
class Basket:
    owner: str
    fruits: list[str]
    by_size: dict[str, set[int]]


VALUES: dict[str, Any] = {
    "list": [1, "two", [3, [4]]],
    "dict": {"a": {"b": [1, {"c": 2}]}},
    "set": {1, 2},
    "sets inside": {"a": [{1, 2}, {3}]},
    "tuple": ([1], {"a": [2]}),
    "dataclass": Basket("p", ["apple"], {"small": {1}}),
    "bytes": bytearray(b"abc"),
}


def own(value: Any) -> Any:
    """What the caller can change without changing the record: live values write through, as they should."""
    return value.copy() if hasattr(value, "__redstate_plain__") else value


READS: dict[str, Callable[[Any], Any]] = {
    "state.get": lambda store: {name: own(store.conversation("c").state.get(name)) for name in VALUES},
    "state.all": lambda store: store.conversation("c").state.all(),
    "state.peek": lambda store: {name: store.conversation("c").state.peek(name) for name in VALUES},
    "load_state": lambda store: store.load_state("c"),
    "cart.lines": lambda store: store.conversation("c").cart.lines(),
    "workflow.status": lambda store: store.conversation("c").workflow(BOOKING).status(),
    "session.user": lambda store: store.conversation("c").session.user(fresh=False),
    "customer.get": lambda store: {name: own(store.customer("p").get(name)) for name in VALUES},
    "customer.all": lambda store: store.customer("p").all(),
    "customer.context": lambda store: store.customer("p").context(),
    "customer.conversations": lambda store: store.customer("p").conversations(),
    "customer.history": lambda store: store.customer("p").history(),
    "cache.get": lambda store: {name: store.cache.get(name) for name in VALUES},
}


@pytest.fixture(scope="module", params=["sync", "async"])
def full_store(request: pytest.FixtureRequest, server: Any) -> Iterator[Any]:
    """A store that holds all kinds of things, all of them in memory."""
    stores = Stores(request.param)
    store = stores.open(server.url, key_prefix=f"full-{request.param}", timeout=20.0, max_staleness=LONG)
    conversation = store.conversation("c")
    conversation.state.update(VALUES)
    conversation.cart.add("sku", 2, "9.99", attributes=VALUES)
    booking = conversation.workflow(BOOKING)
    booking.advance("collecting_dates", wishes=["view", "quiet"], guests=2)
    conversation.session.login("u", user=VALUES)
    customer = store.customer("p")
    customer.update(VALUES)
    customer.link("c")
    customer.add_history("ordered", items=VALUES)
    for name, value in VALUES.items():
        store.cache.set(name, value)
        from_memory(store, lambda name=name: store.cache.get(name))
    from_memory(store, conversation.state.all)
    from_memory(store, customer.all)
    yield store
    stores.close()


def spoil(value: Any) -> int:
    """Change whatever can be changed in a value, to any depth. Returns how much that was."""
    spoilt = 0
    if isinstance(value, dict):
        spoilt = 1 + sum(map(spoil, value.values()))
        value["spoilt"] = True
    elif isinstance(value, (list, bytearray)):
        spoilt = 1 + sum(map(spoil, value))
        value.append(0)
    elif isinstance(value, tuple):
        spoilt = sum(map(spoil, value))
    elif isinstance(value, set):
        spoilt = 1
        value.add("spoilt")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            spoilt += spoil(getattr(value, field.name))
            with contextlib.suppress(dataclasses.FrozenInstanceError):
                setattr(value, field.name, "spoilt")
    return spoilt


@pytest.mark.parametrize("way", READS)
def test_changing_what_a_read_returned_changes_no_other_read(full_store: Any, way: str) -> None:
    read = READS[way]
    expected = copy.deepcopy(read(full_store))
    before = full_store.nearcache.stats()
    for _ in range(3):
        found = read(full_store)
        assert found == expected
        assert spoil(found) > 0
    after = full_store.nearcache.stats()
    assert (after.misses, after.bypasses) == (before.misses, before.bypasses)  # memory has answered all of them
    assert after.hits >= before.hits + 3


@pytest.mark.parametrize("name", VALUES)
def test_changing_what_was_written_changes_no_read(
    server: Any, prefix: str, open_store: Callable[..., Any], name: str
) -> None:
    store = open_store(server.url, timeout=20.0, max_staleness=LONG)
    state, value = store.conversation("c").state, copy.deepcopy(VALUES[name])
    state.set("other", 1)
    from_memory(store, state.all)
    misses = store.nearcache.stats().misses
    state.set("value", value)
    spoil(value)
    assert state.get("value") == VALUES[name]
    assert store.nearcache.stats().misses == misses  # it stands in the copy as this process has written it


@pytest.mark.parametrize("name", ["list", "dict"])
def test_changing_the_copy_of_a_live_value_changes_no_read(server: Any, prefix: str, name: str) -> None:
    with Store.from_url(server.url, key_prefix=prefix, timeout=20.0, max_staleness=LONG) as store:
        state = store.conversation("c").state
        state.set(name, VALUES[name])
        for _ in range(3):
            found = from_memory(store, state[name].copy)
            assert found == VALUES[name] == state[name] == state.get(name)
            spoil(found)
