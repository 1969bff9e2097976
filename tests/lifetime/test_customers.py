"""What is known of a customer is handed out, or erased, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import servers
from lifetime.lives import Lives


def spread(store: Any, lives: Lives) -> None:
    """Conversations of a customer at every place there is, and one of somebody else."""
    for name in ("archived", "by-state"):
        conversation = store.conversation(name, customer_id=None if name == "by-state" else "cust")
        conversation.state.update(name=name, customer_id="cust")
        conversation.end()
    lives.nothing_left()
    store.conversation("live", customer_id="cust").state.set("name", "live")
    store.conversation("ended", customer_id="cust").state.set("name", "ended")
    store.conversation("ended", customer_id="cust").end()
    store.conversation("linked").state.set("name", "linked")
    store.conversation("other", customer_id="other").state.set("name", "other")
    customer = store.customer("cust")
    customer.link("linked")
    customer.update(name="Ada")
    customer.add_history("called", minutes=3)
    store.cache.set("page", "Ada's", tags=["customer:cust"])


def test_an_export_has_all_of_it(store: Any, lives: Lives) -> None:
    spread(store, lives)
    found = store.customer("cust").export()
    assert {one.conversation_id: one.state["name"] for one in found.conversations} == {
        name: name for name in ("archived", "by-state", "live", "ended", "linked")
    }
    assert [one.conversation_id for one in found.conversations if one.ended_at is None] == ["live", "linked"]
    assert (found.profile["name"], found.history[0].event) == ("Ada", "called")
    assert {link.id for link in found.links} == {"archived", "by-state", "ended", "linked"}
    assert "Ada" not in repr(found)


def test_an_erasure_leaves_nothing_and_says_what_it_did(open_store: Callable[..., Any], lives: Lives) -> None:
    store, other = open_store(), open_store()
    spread(store, lives)
    live, customer = other.conversation("live"), other.customer("cust")
    assert (live.state.get("name"), customer.get("name")) == ("live", "Ada")
    done = store.customer("cust").erase()
    assert (done.customer_id, done.profile, set(done.conversations), done.archived) == (
        "cust",
        True,
        {"live", "ended", "linked"},
        2,
    )
    servers.wait_until(lambda: live.state.get("name") is None, "the other store's copy of a conversation goes")
    servers.wait_until(lambda: customer.all() == {}, "the other store's copy of the customer goes")
    assert other.cache.get("page") is None
    lives.sweep()
    assert lives.rows() == []
    found = other.customer("cust").export()
    assert (found.profile, found.history, found.links, found.conversations) == ({}, [], [], [])
    assert not any(
        b"Ada" in value
        for key in lives.raw.scan_iter(f"{lives.prefix}:*conv*")
        for value in lives.raw.hgetall(key).values()
    )
    assert other.load_state("other") == {"name": "other"}
    again = store.customer("cust").erase()
    assert (again.profile, again.conversations, again.archived) == (False, (), 0)
