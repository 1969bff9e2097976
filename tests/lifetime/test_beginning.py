"""A conversation of a store with an archive begins with its first change, in the index first, and has no expiry."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import servers
from contract.test_contract_ids import HOSTILE
from lifetime.lives import Lives

from redstate import errors
from redstate.calls import due, lifetime
from redstate.calls import record as record_calls


def test_the_first_change_begins_it_without_an_expiry_and_in_the_index(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="cust")
    version = conversation.state.set("a", 1)
    record = lives.record("c1")
    assert (record[b"v"], record[b"g"]) == (b"%d" % version, b"cust")
    assert record[b"b"] < record[b"v"]
    assert lives.raw.pttl(conversation.key) == -1
    assert list(lives.index()) == ["c1"]
    assert (conversation.ttl(), conversation.exists(), conversation.version()) == (None, True, version)


def test_every_kind_of_change_can_be_the_first(store: Any, lives: Lives) -> None:
    store.conversation("state").state.increment("n")
    store.conversation("op").state.set("a", 1, op_id="one")
    store.conversation("op").state.set("a", 1, op_id="one")
    store.conversation("absent").state.set("a", 1, expected_version=0)
    store.save_state("saved", {"a": 1})
    store.conversation("cart").cart.add("sku", 1, "1.00")
    store.conversation("session").session.login("user", ttl=60)
    assert set(lives.index()) == {"state", "op", "absent", "saved", "cart", "session"}
    assert {lives.raw.pttl(store.conversation(one).key) for one in lives.index()} == {-1}
    with pytest.raises(errors.ConflictError):
        store.conversation("absent").state.set("a", 2, expected_version=0)


def test_a_customer_is_no_conversation_and_expires(store: Any, lives: Lives) -> None:
    customer = store.customer("cust")
    customer.state.set("a", 1)
    assert customer.ttl() > 1000
    assert lives.index() == {}


def test_start_begins_it_once_and_it_counts_as_absent_until_it_is_changed(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="cust")
    assert (conversation.start(), conversation.start()) == (True, False)
    assert not conversation.exists()
    assert lives.record("c1")[b"g"] == b"cust"
    assert conversation.state.set("a", 1, expected_version=0)
    assert not conversation.start()


def test_many_begin_the_same_one_at_once(open_store: Callable[..., Any], colour: str, lives: Lives) -> None:
    stores = [open_store() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda one: one.conversation("c1").state.increment("n"), stores))
        started = list(threads.map(lambda one: one.conversation("c2").start(), stores))
    assert sorted(values) == [1, 2, 3, 4]
    assert sorted(started) == [False, False, False, True]
    assert set(lives.index()) == {"c1", "c2"}


def test_hostile_ids_live_and_leave_like_any_other(store: Any, lives: Lives) -> None:
    for conversation_id in HOSTILE:
        store.conversation(conversation_id).state.set("id", conversation_id)
    assert set(lives.index()) == set(HOSTILE)
    for conversation_id in HOSTILE:
        assert store.conversation(conversation_id).end()
    lives.nothing_left()
    assert {row.conversation_id for row in lives.rows()} == set(HOSTILE)
    for conversation_id in HOSTILE:
        assert store.load_state(conversation_id) == {"id": conversation_id}


def test_one_who_dies_between_the_index_and_the_record_leaves_nothing(store: Any, lives: Lives, prefix: str) -> None:
    ask = store.conversation("c1")._record.ask
    ask(due.register(prefix, "c1", 0.1, 0.05))
    assert list(lives.index()) == ["c1"]
    lives.nothing_left()
    assert lives.rows() == []


def test_a_record_that_comes_too_late_after_its_entry_does_not_begin(store: Any, lives: Lives, prefix: str) -> None:
    record = store.conversation("c1")._record
    deadline = record.ask(due.register(prefix, "c1", 0.1, 0.05))
    servers.wait_until(lambda: record.ask(record_calls.server_time(record.key)) > deadline, "the deadline passes")
    with pytest.raises(errors.DeadlineExceeded):
        record.ask(lifetime.begin(record.key, deadline))
    assert lives.record("c1") == {}


def test_what_was_written_without_an_archive_is_adopted(open_store: Callable[..., Any], lives: Lives) -> None:
    plain, kept = open_store(archive=None), open_store()
    plain.conversation("c1").state.update(a=1, b=[2])
    assert plain.conversation("c1").ttl() is not None
    kept.conversation("c1").state.set("c", 3)
    assert kept.conversation("c1").ttl() is None
    assert list(lives.index()) == ["c1"]
    assert kept.conversation("c1").end()
    lives.nothing_left()
    assert kept.archive.get("c1").state == {"a": 1, "b": [2], "c": 3}


def test_an_expiry_that_somebody_without_an_archive_has_set_is_taken_away(
    open_store: Callable[..., Any], lives: Lives
) -> None:
    plain, kept = open_store(archive=None), open_store(idle=0.2)
    kept.conversation("c1").state.set("a", 1)
    servers.wait_until(lambda: kept.archive.backlog().due == 1, "it is due")
    plain.conversation("c1").state.set("a", 2)
    assert plain.conversation("c1").ttl() is not None
    lives.sweep(idle=1.0)
    assert plain.conversation("c1").ttl() is None
    servers.wait_until(lambda: lives.sweep(idle=0.2).abandoned == 1, "it is archived")
    assert kept.load_state("c1") == {"a": 2}


def test_who_is_in_use_is_put_off_and_a_touch_counts(open_store: Callable[..., Any], lives: Lives) -> None:
    store = open_store(idle=0.3)
    touched, silent = store.conversation("touched"), store.conversation("silent")
    for conversation in (touched, silent):
        conversation.state.set("a", 1)
    versions = []

    def silent_has_left() -> bool:
        assert touched.touch()
        versions.append(touched.version())
        lives.sweep(idle=0.3)
        return len(lives.rows()) > 0

    servers.wait_until(silent_has_left, "the silent one is abandoned")
    assert [(row.conversation_id, row.reason) for row in lives.rows()] == [("silent", "abandoned")]
    assert not touched.ended() and touched.exists()
    assert len(set(versions)) == 1


def test_the_near_cache_sees_it_begin_change_end_and_leave(open_store: Callable[..., Any], lives: Lives) -> None:
    writer, reader = open_store(), open_store()
    state = reader.conversation("c1").state
    for number in range(20):
        writer.conversation("c1").state.set("a", number)
        servers.wait_until(lambda at=number: state.get("a") == at, "the reader sees the change")
    writer.conversation("c1").end()
    assert state.get("a") == 19
    lives.sweep()
    servers.wait_until(lambda: state.get("a") is None, "the reader sees that it has left")
    assert reader.load_state("c1") == {"a": 19}
