"""A conversation has one owner at a time, with a token that rises; what earlier ones still send is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ownership.records import Owners

from redstate import Store
from redstate.errors import ConflictError, CorruptState, Fenced

GHOST = 4_102_444_800_000_000  # a token of the year 2100


@pytest.fixture
def owners(store: Store, prefix: str) -> Owners:
    return Owners(store, prefix)


def test_who_comes_first_owns_it_and_asking_again_changes_nothing(owners: Owners) -> None:
    first = owners.claim("ann")
    assert (first.verdict, first.won, first.owner) == ("new", True, "")
    again = owners.claim("ann")
    assert (again.verdict, again.token) == ("mine", first.token)
    second = owners.claim("bob")
    assert (second.verdict, second.won, second.owner) == ("owned", False, "ann")


def test_each_owner_has_a_higher_token(owners: Owners) -> None:
    tokens = []
    for number in range(5):
        tokens.append(owners.claim(f"owner{number}").token)
        assert owners.release(f"owner{number}") is True
    assert tokens == sorted(set(tokens))


def test_the_token_rises_where_the_clock_went_back(owners: Owners, raw: Any) -> None:
    owners.claim("ann")
    raw.hset(owners.key, "f", str(GHOST))
    assert owners.claim("bob", gone="ann").token == GHOST + 1


def test_it_is_taken_only_from_the_owner_that_is_named_as_gone(owners: Owners) -> None:
    token = owners.claim("ann").token
    assert owners.claim("bob", gone="eve").owner == "ann"
    taken = owners.claim("bob", gone="ann")
    assert taken.verdict == "taken"
    assert taken.token > token
    # Whoever saw the same owner go comes too late.
    assert owners.claim("cid", gone="ann").owner == "bob"


def test_an_owner_that_comes_back_under_another_name_keeps_its_token_unless_somebody_was_quicker(
    owners: Owners,
) -> None:
    token = owners.claim("ann").token
    back = owners.claim("ann2", gone="ann", comes_back=True)
    assert (back.verdict, back.token) == ("mine", token)
    owners.claim("bob", gone="ann2")
    assert owners.claim("ann3", gone="ann2", comes_back=True).owner == "bob"


def test_letting_go_is_the_owners_business_and_leaves_the_token(owners: Owners) -> None:
    token = owners.claim("ann").token
    assert owners.release("bob") is False
    assert owners.release("ann") is True
    assert owners.release("ann") is False
    assert owners.claim("bob").token > token
    with owners.acting(token), pytest.raises(Fenced):
        owners.conversation.state.set("a", 1)


def test_a_claim_is_no_content_and_no_change(owners: Owners, raw: Any) -> None:
    channel = raw.pubsub()
    channel.subscribe(owners.key)
    owners.claim("ann")
    assert (owners.conversation.exists(), owners.conversation.version()) == (False, 0)
    version = owners.conversation.state.set("a", 1, expected_version=0)
    owners.claim("bob", gone="ann")
    owners.release("bob")
    assert owners.conversation.version() == version
    assert owners.conversation.state == {"a": 1}
    messages = [message for _ in range(3) if (message := channel.get_message(timeout=1.0))]
    assert [message["type"] for message in messages] == ["subscribe", "message"]


def test_an_owner_outlives_the_deletion_of_the_content(owners: Owners) -> None:
    token = owners.claim("ann").token
    with owners.acting(token):
        owners.conversation.state.set("a", 1)
        owners.conversation.delete()
    assert owners.claim("bob").owner == "ann"


def test_a_conversation_that_is_over_is_nobodys(owners: Owners, raw: Any) -> None:
    owners.claim("ann")
    raw.hset(owners.key, "hshop:on_conversation_ended", "done")
    assert owners.claim("bob", gone="ann", ended_field="hshop:on_conversation_ended").verdict == "ended"


def test_a_write_under_a_superseded_token_changes_nothing(owners: Owners) -> None:
    old = owners.claim("ann").token
    with owners.acting(old):
        version = owners.conversation.state.set("a", 1)
    new = owners.claim("bob", gone="ann").token
    with owners.acting(old), pytest.raises(Fenced) as caught:
        owners.conversation.state.set("a", 2)
    assert (caught.value.current_token, caught.value.key) == (new, owners.key)
    assert (owners.conversation.version(), owners.conversation.state) == (version, {"a": 1})


def test_every_kind_of_write_is_fenced(owners: Owners) -> None:
    conversation = owners.conversation
    conversation.state.update(a={"b": 1}, items=[])
    conversation.cart.add("sku", 1, "1.00")
    old = owners.claim("ann").token
    owners.claim("bob", gone="ann")
    nested, items = conversation.state["a"], conversation.state["items"]
    changes = [
        lambda: conversation.state.increment("n"),
        lambda: conversation.state.delete("a"),
        lambda: conversation.state.append("items", 1),
        lambda: nested.update(b=2),
        lambda: items.append(1),
        lambda: conversation.cart.add("sku", 1),
        lambda: conversation.cart.set_quantity("sku", 5),
        conversation.cart.clear,
        lambda: conversation.cart.checkout("order-1"),
        lambda: conversation.session.login("ada", username="ada", ttl=60),
        conversation.delete,
    ]
    version = conversation.version()
    for change in changes:
        with owners.acting(old), pytest.raises(Fenced):
            change()
    assert conversation.version() == version


def test_a_supervisor_writes_beside_the_owner(owners: Owners, store: Store) -> None:
    token = owners.claim("ann").token
    store.conversation("c1").state.set("note", "call back")
    with owners.acting(token):
        owners.conversation.state.set("a", 1)
    assert owners.conversation.state == {"note": "call back", "a": 1}


def test_an_owners_token_is_of_its_conversation_only(owners: Owners, store: Store, prefix: str) -> None:
    Owners(store, prefix, "c2").claim("bob")
    with owners.acting(1):
        store.conversation("c2").state.set("a", 1)
        store.customer("ada").update(tier="gold")
    assert store.conversation("c2").state == {"a": 1}


def test_an_owners_conditions_are_judged_like_anyones(owners: Owners) -> None:
    token = owners.claim("ann").token
    with owners.acting(token):
        version = owners.conversation.state.set("a", 1)
        with pytest.raises(ConflictError):
            owners.conversation.state.set("a", 2, expected_version=version - 1)


@pytest.mark.parametrize("garbage", ["x", "12345", "123456789012345x", ""])
def test_a_token_that_is_none_is_said_to_be_corrupt(owners: Owners, raw: Any, garbage: str) -> None:
    raw.hset(owners.key, "f", garbage)
    with pytest.raises(CorruptState):
        owners.claim("ann")
    assert raw.hget(owners.key, "f") == garbage
