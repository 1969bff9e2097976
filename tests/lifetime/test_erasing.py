"""What was erased or deleted comes back on no way: from no archive, merge, repeat or return; and nothing else goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import servers
from lifetime.lives import Lives

from redstate import EndedConversation, Store, errors
from redstate._keys import due_key
from redstate._scope import Scope, current
from redstate.archive.rows import fields_of
from redstate.archive.sql import SqlArchive
from redstate.calls import lifetime, ownership

FOREVER = 9 * 10**15


def archived(store: Any, lives: Lives, conversation_id: str = "c1", customer_id: str | None = "cust") -> Any:
    """A conversation that has left for the archive, and its tombstone too."""
    conversation = store.conversation(conversation_id, customer_id=customer_id)
    conversation.state.set("a", 1)
    assert conversation.end()
    lives.nothing_left()
    return conversation


def test_what_is_left_stays_until_an_archiver_has_cleared_the_archive_and_no_longer(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    store.customer("cust").erase()
    assert lives.raw.pttl(conversation.key) == -1
    assert list(lives.index()) == ["c1"]
    assert lives.sweep(tombstone_ttl=0.05).erased == 1
    servers.wait_until(lambda: not lives.keys(), "what is left expires")
    assert lives.index() == {}
    assert conversation.state.set("b", 1)
    assert store.load_state("c1") == {"b": 1}


def test_another_customers_life_of_the_same_id_stays(store: Any, lives: Lives) -> None:
    archived(store, lives, customer_id="other")
    with SqlArchive(lives.path) as archive:
        (row,) = archive.lives("c1")
        assert archive.delete("c1")
    archived(store, lives)
    with SqlArchive(lives.path) as archive:
        archive.put([row])
    assert store.customer("cust").erase().archived == 1
    assert lives.sweep().erased == 1
    assert [each.customer_id for each in lives.rows()] == ["other"]


@pytest.mark.parametrize("swept", [False, True], ids=["before-a-sweep", "after-a-sweep"])
def test_what_was_resumed_and_then_deleted_does_not_return(store: Any, lives: Lives, swept: bool) -> None:
    conversation = archived(store, lives)
    assert conversation.resume()
    assert conversation.state.set("b", 1)
    assert conversation.delete()
    if swept:
        assert lives.sweep().erased == 1
        assert lives.rows() == []
    assert not conversation.resume()
    assert conversation.state.all(fresh=True) == {}


def test_what_is_begun_anew_after_it_was_deleted_is_archived_as_it_is_then(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    assert conversation.resume()
    assert conversation.delete()
    last = conversation.state.set("b", 1)
    assert conversation.end()
    lives.nothing_left()
    assert [(row.version, row.state) for row in lives.rows()] == [(last, '{"b":1}')]


def test_a_late_look_at_what_was_erased_leaves_a_later_life_alone(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    conversation.delete()
    erased = int(lives.record("c1")[b"v"])
    lives.raw.delete(conversation.key)
    with SqlArchive(lives.path) as archive:
        archive.delete("c1")
        last = conversation.state.set("b", 1)
        conversation.end()
        lives.sweep()
        assert archive.forget("c1", erased) == 0
        assert [row.version for row in lives.rows()] == [last]


def test_who_is_about_to_resume_while_a_customer_is_erased_does_not_bring_it_back(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    (row,) = lives.rows()
    store.customer("cust").erase()
    record = conversation._record
    late = lifetime.restore(record.key, 0, FOREVER, row.version, fields_of(row))
    assert record.ask(late) == "erased"
    assert not conversation.resume()


@pytest.mark.parametrize("by", ["end", "sweeper"])
def test_a_merge_under_way_brings_nothing_back(open_store: Callable[..., Any], url: str, lives: Lives, by: str) -> None:
    eraser = Store.from_url(url, key_prefix=lives.prefix, archive=lives.path)

    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        eraser.customer("cust").erase()
        return {"name": "Ada"}

    store = open_store(merge=merge)
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    store.customer("cust").update(name="Ada")
    if by == "end":
        conversation.end()
    else:
        lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
        servers.wait_until(lambda: lives.sweep(merge=merge, idle=0.1).erased, "it was abandoned, and is erased")
    assert store.customer("cust").all(fresh=True) == {}
    assert store.customer("cust").conversations(fresh=True) == []
    lives.sweep()
    assert lives.rows() == []
    eraser.close()


def test_a_conversation_that_ends_after_the_erasure_is_merged(store: Any, lives: Lives) -> None:
    store.customer("cust").update(name="Ada")
    store.customer("cust").erase()
    conversation = store.conversation("c2", customer_id="cust")
    conversation.state.set("a", 1)
    assert conversation.end()
    assert store.customer("cust").get("last_conversation", fresh=True) == "c2"


def test_no_result_of_an_earlier_change_is_remembered_or_made_again(store: Any, lives: Lives) -> None:
    customer = store.customer("cust")
    assert customer.increment("points", 4711, op_id="bonus") == 4711
    assert store.customer("cust").erase().profile
    assert not store.customer("cust").erase().profile
    with pytest.raises(errors.StaleOperation):
        customer.increment("points", 4711, op_id="bonus")
    left = lives.raw.hgetall(customer.key)
    assert set(left) - {name for name in left if name[:1] in b"ji"} == {b"v", b"d", b"x"}
    assert not any(b"4711" in value for value in left.values())
    assert all(re.fullmatch(rb"(\d{10})er \d{16}\|\1", value) for name, value in left.items() if name[:1] in b"ji")
    # And the same processes go on.
    assert customer.increment("points", 1) == 1


def test_what_cannot_be_read_holds_up_nobodys_erasure_and_is_named(store: Any, lives: Lives) -> None:
    for name in ("mine", "linked"):
        store.conversation(name).state.set("customer_id", "cust")
    for name in ("foreign", "linked"):
        store.conversation(name).state.set("a", 1)
        lives.poke(name, "scustomer_id", b"{no json")
    store.customer("cust").link("linked")
    found = store.customer("cust").export()
    assert ([one.conversation_id for one in found.conversations], set(found.unreadable)) == (
        ["mine"],
        {"foreign", "linked"},
    )
    done = store.customer("cust").erase()
    assert (set(done.conversations), done.unreadable) == ({"mine", "linked"}, ("foreign",))
    assert lives.record("foreign")[b"sa"] == b"1"


def test_an_owner_that_was_succeeded_cannot_delete_what_has_ended(store: Any, url: str, lives: Lives) -> None:
    conversation = store.conversation("c1")
    conversation.state.set("a", 1)
    record = conversation._record
    token = record.ask(ownership.claim(record.key, 0, "owner")).token
    heirs = record.ask(ownership.claim(record.key, 0, "heir", gone="owner")).token
    conversation.end()
    assert record.ask(lifetime.erase(record.key, FOREVER, token=token)) == heirs
    # And its changes are what carries the token.
    with Store.from_url(url, key_prefix=lives.prefix, archive=lives.path) as other:
        theirs = other.conversation("c1")
        reset = current.set(Scope(record.key, token))
        try:
            with pytest.raises(errors.Fenced):
                theirs.delete()
        finally:
            current.reset(reset)
    assert lives.record("c1")[b"sa"] == b"1"
    assert conversation.delete()
