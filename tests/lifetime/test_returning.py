"""Who returns finds everything as it was, wherever the conversation lies by now; and what ``store.archive`` tells."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import servers
from contract.workflows import BOOKING
from lifetime.lives import Lives

from redstate import errors
from redstate._keys import hook_field
from redstate.calls import hooks, ownership

VALUES = {
    "none": None,
    "yes": True,
    "whole": 2**53 + 1,
    "large": 2**63 - 1,
    "huge": 10**30,
    "real": 0.1,
    "tiny": 5e-324,
    "text": "\0\n\x7fé\U0001f600",
    "bytes": b"\0\xff",
    "decimal": Decimal("1.10"),
    "moment": datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "day": date(2025, 1, 2),
    "clock": time(3, 4, 5),
    "span": timedelta(days=1, microseconds=1),
    "uuid": uuid.UUID(int=7),
    "tuple": (1, (2, "a")),
    "set": {1, 2},
    "frozen": frozenset({"a"}),
    "nested": {"$redstate": 1, "list": [[], {}, ""], "é": {"": None}},
    "f" * 256: 1,
}
WHERE = ["closed", "tombstone", "archive"]


def filled(store: Any, conversation_id: str = "c1") -> Any:
    conversation = store.conversation(conversation_id, customer_id="cust")
    for name in reversed(VALUES):
        conversation.state.set(name, VALUES[name])
    conversation.state.increment("count", 2**62)
    conversation.cart.add("bought", 1, "2.00", attributes={"size": "L"})
    conversation.cart.checkout("order-1")
    conversation.cart.start_over()
    conversation.cart.add("sku", 2, "1.50", attributes={"size": "M", "é": [1]})
    conversation.cart.add("plain")
    run = conversation.workflow(BOOKING)
    run.advance("collecting_dates")
    run.collect(check_in=date(2025, 1, 2), check_out=date(2025, 1, 3))
    return conversation


def content(record: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The fields that come back, to the byte."""
    return {name: value for name, value in record.items() if name[:1] in b"scpalowWky" and name}


def bring(lives: Lives, where: str, store: Any) -> None:
    """Have an ended conversation leave as far as that."""
    if where == "closed":
        return
    lives.sweep(tombstone_ttl=60.0 if where == "tombstone" else 0.05)
    assert store.conversation("c1").state.all(fresh=True) == {}
    if where == "archive":
        servers.wait_until(lambda: not lives.keys(), "the tombstone is gone")


@pytest.mark.parametrize("where", WHERE)
def test_everything_is_as_it_was_to_the_byte(store: Any, lives: Lives, where: str) -> None:
    conversation = filled(store)
    conversation.session.login("user", ttl=60)
    before, state, version = lives.record("c1"), conversation.state.all(fresh=True), conversation.version()
    conversation.end()
    bring(lives, where, store)
    assert store.load_state("c1") == state
    assert conversation.resume()
    after = lives.record("c1")
    assert content(after) == content(before)
    assert after[b"g"] == b"cust" and after[b"b"] == before[b"b"]
    assert list(conversation.state.all(fresh=True)) == list(state)
    assert conversation.version() > version
    assert not conversation.ended()
    assert list(lives.index()) == ["c1"]
    if where != "closed":
        assert not conversation.session.authenticated()
    assert conversation.resume()
    assert conversation.workflow(BOOKING).status(fresh=True).step == "collecting_dates"

    last = conversation.state.set("more", 1)
    assert conversation.end("again")
    lives.nothing_left()
    assert [(row.version, row.reason, row.created_us) for row in lives.rows()] == [(last, "again", int(before[b"b"]))]
    assert store.load_state("c1") == {**state, "more": 1}


@pytest.mark.parametrize("where", WHERE)
def test_former_owners_are_refused_and_marks_of_hooks_are_kept_but_for_the_end(
    store: Any, lives: Lives, where: str
) -> None:
    conversation = filled(store)
    record = conversation._record
    token = record.ask(ownership.claim(record.key, 0, "owner")).token
    started, ended = hook_field("shop", "on_conversation_started"), hook_field("shop", "on_conversation_ended")
    for field in (started, ended):
        record.ask(hooks.claim(record.key, 0, field, f"{token:016d}a", 15.0))
        record.ask(hooks.done(record.key, 0, field, f"{token:016d}a"))
    conversation.end()
    assert record.ask(ownership.claim(record.key, 0, "heir", gone="owner")).verdict == "ended"
    bring(lives, where, store)
    assert conversation.resume()
    fields = lives.record("c1")
    assert fields[started.encode()] == b"done"
    assert ended.encode() not in fields
    assert b"F" not in fields
    assert int(fields[b"f"]) > token
    assert record.ask(ownership.claim(record.key, 0, "heir", must_exist=True)).token > token


def test_who_is_unknown_or_erased_does_not_return(store: Any, lives: Lives) -> None:
    assert not store.conversation("nobody").resume()
    conversation = filled(store)
    conversation.end()
    assert conversation.delete()
    assert not conversation.resume()
    lives.sweep()
    assert (lives.rows(), store.load_state("c1")) == ([], {})
    filled(store, "c2").end()
    lives.sweep(tombstone_ttl=0.05)
    assert store.archive.delete("c2")
    servers.wait_until(lambda: not store.conversation("c2").ended(), "the tombstone is gone")
    assert not store.conversation("c2").resume()


def test_what_was_archived_and_is_then_deleted_leaves_the_archive(store: Any, lives: Lives) -> None:
    conversation = filled(store)
    conversation.end()
    bring(lives, "archive", store)
    conversation.delete()
    lives.sweep()
    assert lives.rows() == []
    assert not conversation.resume()


def test_a_slow_return_does_not_undo_a_quicker_one(store: Any, lives: Lives) -> None:
    from redstate.archive.rows import fields_of
    from redstate.calls import lifetime

    conversation = filled(store)
    conversation.end()
    bring(lives, "archive", store)
    (row,) = lives.rows()
    assert conversation.resume()
    last = conversation.state.set("more", 1)
    conversation.end()
    lives.sweep(tombstone_ttl=60.0)
    record = conversation._record
    late = lifetime.restore(record.key, 0, 9 * 10**15, row.version, fields_of(row))
    assert record.ask(late) == "stale"
    assert [each.version for each in lives.rows()] == [last]
    assert conversation.resume()
    assert conversation.state.get("more", fresh=True) == 1


def test_resumed_before_it_ever_had_an_archive_it_is_one_life(open_store: Callable[..., Any], lives: Lives) -> None:
    plain, kept = open_store(archive=None), open_store()
    plain.conversation("c1").state.set("a", 1)
    plain.conversation("c1").end()
    assert kept.conversation("c1").resume()
    begun = lives.record("c1")[b"b"]
    kept.conversation("c1").state.set("a", 2)
    kept.conversation("c1").end()
    lives.nothing_left()
    assert [(row.created_us, row.state) for row in lives.rows()] == [(int(begun), '{"a":2}')]


def test_the_archive_tells_lists_exports_and_forgets(store: Any, lives: Lives) -> None:
    for number in range(3):
        conversation = store.conversation(f"c{number}", customer_id=f"cust{number % 2}")
        conversation.state.set("n", number)
        conversation.end(f"reason{number}")
    open_ones = store.archive.backlog()
    assert (open_ones.conversations, open_ones.due) == (3, 3) and open_ones.oldest >= 0
    lives.nothing_left()
    assert store.archive.backlog().conversations == 0
    ended = store.archive.get("c1")
    assert (ended.state, ended.reason, ended.customer_id) == ({"n": 1}, "reason1", "cust1")
    assert ended.created_at <= ended.updated_at <= ended.ended_at
    assert store.archive.get("nobody") is None
    assert [one.conversation_id for one in store.archive.list()] == ["c2", "c1", "c0"]
    assert [one.conversation_id for one in store.archive.list(customer_id="cust0", limit=1)] == ["c2"]
    assert [line["conversation_id"] for line in store.archive.export(customer_id="cust0")] == ["c0", "c2"]
    assert (store.archive.delete("c1"), store.archive.delete("c1")) == (True, False)
    with pytest.raises(errors.InvalidId):
        store.archive.get("")
