"""What redstate did not write is not archived, stays, is counted and holds up nobody; once it is mended it goes."""

from __future__ import annotations

from typing import Any

import pytest
import servers
from lifetime.lives import Lives

from redstate import EndedConversation, errors
from redstate._keys import due_key

GARBAGE = [
    ("sa", b"{no json"),
    (b"s\xff", b"1"),
    ("csku", b"many"),
    ("csku", b"9" * 30),
    ("lsku", b"{no json"),
    ("oorder-1", b"no order"),
    ("wflow", b"no workflow"),
    ("u", b"no session"),
    ("v", b"17"),
    ("v", b"x" * 16),
    ("f", b"~17"),
    ("n", b"lately"),
    ("n", b""),
    ("n", b"9"),
    ("n", b"0" * 15 + b"x"),
    ("b", b"9" * 30),
    ("b", b"early"),
    ("x", b"some time"),
    ("y", b"none"),
    ("y", b"9" * 16),
]


@pytest.mark.parametrize(("field", "value"), GARBAGE, ids=repr)
def test_garbage_stays_and_is_counted_while_the_others_of_its_batch_leave(
    store: Any, lives: Lives, field: str | bytes, value: bytes
) -> None:
    names = ["c1", *[f"other{number}" for number in range(400)]]
    same_part = [name for name in names if due_key("p", name) == due_key("p", "c1")][:3]
    for name in same_part:
        conversation = store.conversation(name)
        conversation.state.update(a=1, customer_id=name)
        conversation.cart.add("sku", 1, "1.00")
        conversation.session.login("user", ttl=60)
        conversation.end()
    before = lives.record("c1")
    lives.poke("c1", field, value)
    figures = lives.sweep()
    assert (figures.corrupt, figures.archived) == (1, 2)
    assert {row.conversation_id for row in lives.rows()} == set(same_part) - {"c1"}
    assert list(lives.index()) == ["c1"]

    lives.raw.delete(store.conversation("c1").key)
    lives.raw.hset(store.conversation("c1").key, mapping=before)
    lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
    assert lives.sweep().archived == 1
    assert {row.conversation_id for row in lives.rows()} == set(same_part)


def test_a_key_of_another_kind_stays_and_holds_up_nobody(store: Any, lives: Lives) -> None:
    store.conversation("c1").state.set("a", 1)
    store.conversation("c1").end()
    lives.raw.delete(store.conversation("c1").key)
    lives.raw.set(store.conversation("c1").key, "text")
    assert lives.sweep().corrupt == 1
    assert lives.raw.get(store.conversation("c1").key) == b"text"


def test_a_customer_who_cannot_be_read_holds_up_only_the_own_conversations(store: Any, lives: Lives) -> None:
    for name in ("c1", "c2"):
        store.conversation(name).state.set("customer_id", name)
    lives.raw.hset(store.customer("c1").key, mapping={"v": "17"})
    store.conversation("c2").end()
    with pytest.raises(errors.CorruptState):
        store.conversation("c1").end()
    assert lives.sweep(idle=0.1).archived == 1
    lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
    assert lives.sweep().corrupt == 1
    lives.raw.delete(store.customer("c1").key)
    lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
    assert lives.sweep().archived == 1
    assert store.customer("c1").get("last_conversation", fresh=True) == "c1"


def nothing(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
    return {}


def test_a_value_of_a_class_that_the_sweeper_lacks_holds_up_nobody(store: Any, lives: Lives) -> None:
    for name in ("c1", "c2"):
        store.conversation(name, customer_id="cust").state.set("a", 1)
        lives.raw.zadd(due_key(lives.prefix, name), {name: 1})
    lives.poke("c1", "sa", b'{"~": ["dataclass", "no.such.module:Thing", {}]}')
    with pytest.raises(errors.DataError):
        store.conversation("c1").state.get("a", fresh=True)
    servers.wait_until(lambda: lives.sweep(merge=nothing, idle=0.1).corrupt > 0, "it is found unreadable")
    servers.wait_until(lambda: lives.sweep(merge=nothing, idle=0.1) and lives.rows(), "the other one is archived")
    assert [row.conversation_id for row in lives.rows()] == ["c2"]
    assert lives.sweep(idle=0.1).failures == 0


def test_a_customer_id_of_a_class_that_the_sweeper_lacks_is_nobodys(store: Any, lives: Lives) -> None:
    store.conversation("c1").state.set("a", 1)
    store.conversation("c1").end()
    lives.poke("c1", "scustomer_id", b'{"~": ["dataclass", "no.such.module:Thing", {}]}')
    assert lives.sweep().archived == 1
    assert [row.customer_id for row in lives.rows()] == [None]


def test_what_somebody_has_put_into_the_index_stays_and_holds_up_nobody(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1")
    conversation.state.set("a", 1)
    conversation.end()
    foreign = [b"\xff", b"x" * 513]
    lives.raw.zadd(due_key(lives.prefix, "c1"), dict.fromkeys(foreign, 1))
    figures = lives.sweep()
    assert (figures.archived, figures.corrupt) == (1, 2)
    left = lives.raw.zrange(due_key(lives.prefix, "c1"), 0, -1)
    assert set(left) == set(foreign)
    assert store.customer("cust").erase().conversations == ()


def test_a_profile_that_is_full_holds_up_no_conversation(store: Any, lives: Lives) -> None:
    customer = store.customer("cust")
    customer.update({f"f{number}": 1 for number in range(1_000)})
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    with pytest.raises(errors.TooLarge):
        conversation.end()
    assert lives.sweep().archived == 1
    assert [row.customer_id for row in lives.rows()] == ["cust"]
    assert customer.get("last_conversation", fresh=True) is None
