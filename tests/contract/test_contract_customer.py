"""What a customer promises: shared by its conversations, each of which is merged into it once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import servers
from contract.records import Record
from contract.test_contract_ids import HOSTILE

from redstate import CustomerConversation, CustomerEvent, errors
from redstate._keys import customer_key
from redstate.calls.customer import MOST_CONVERSATIONS, MOST_EVENTS

DAY = 86_400


@pytest.fixture
def customer(store: Any) -> Any:
    return store.customer("cust_9")


@pytest.fixture
def image(raw: redis.Redis, customer: Any, store: Any) -> Record:
    """The record of ``customer``."""
    return Record(raw, customer.key, store.nearcache)


def recent(moment: datetime) -> bool:
    return moment.tzinfo is UTC and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


# Fields ---------------------------------------------------------------------------------------------------------------


def test_fields_are_shared_by_every_handle(customer: Any, open_store: Callable[..., Any]) -> None:
    other = open_store().customer("cust_9")
    customer.update({"last name": "Lovelace"}, tier="gold")
    assert other.increment("visits", 2) == 2
    other.append("notes", "called")
    assert customer.all() == {"last name": "Lovelace", "tier": "gold", "visits": 2, "notes": ["called"]}
    assert (customer.get("tier"), customer.get("nothing", 7)) == ("gold", 7)
    assert (customer.id, other.id, customer.key) == ("cust_9", "cust_9", other.key)
    assert other.version() == customer.version() > 0


def test_a_customer_and_a_conversation_of_one_id_are_two_records(store: Any) -> None:
    store.conversation("x").state.set("a", 1)
    assert not store.customer("x").exists()
    store.customer("x").update(a=2)
    assert store.conversation("x").state.get("a") == 1


def test_changes_take_an_op_id_and_an_expected_version(customer: Any) -> None:
    version = customer.update(n=1, expected_version=0)
    for _ in range(2):
        assert customer.increment("n", op_id="once") == 2
        customer.append("list", 1, cap=5, op_id="capped")
        customer.append("list", 2, op_id="plain")
        customer.add_history("seen", op_id="noted")
    assert customer.all() == {"n": 2, "list": [1, 2]}
    assert len(customer.history()) == 1
    for change in (
        lambda: customer.update(n=9, expected_version=version),
        lambda: customer.append("list", 9, cap=1, expected_version=version),
        lambda: customer.delete(expected_version=version),
    ):
        with pytest.raises(errors.ConflictError):
            change()
    assert customer.all() == {"n": 2, "list": [1, 2]}


def test_a_capped_list_keeps_its_newest_items(customer: Any) -> None:
    for number in range(5):
        customer.append("seen", {"sku": number}, cap=3)
    assert customer.get("seen") == [{"sku": 2}, {"sku": 3}, {"sku": 4}]
    customer.append("seen", 5, cap=1)
    assert customer.get("seen") == [5]


def test_the_state_of_a_customer_is_that_of_its_fields(customer: Any) -> None:
    customer.update(preferences={"lang": "en"})
    assert customer.state.get("preferences") == {"lang": "en"}
    customer.state.set("tier", "gold")
    assert customer.get("tier") == "gold"
    assert customer.state.delete("preferences") == 1
    assert customer.all() == {"tier": "gold"}


# Life -----------------------------------------------------------------------------------------------------------------


def test_a_customer_lives_ninety_days_after_its_last_change(customer: Any, store: Any, open_store: Any) -> None:
    assert customer.ttl() is None
    changes = (
        lambda handle: handle.update(a=1),
        lambda handle: handle.append("list", 1, cap=2),
        lambda handle: handle.link("c1"),
        lambda handle: handle.merge_conversation("c1"),
        lambda handle: handle.add_history("seen"),
    )
    brief, longer = store.customer("cust_9", ttl=60), open_store(customer_ttl=100 * DAY).customer("cust_9")
    for number, change in enumerate(changes):
        brief.update(number=number)
        assert 59 < brief.ttl() <= 60
        change(customer)
        assert 90 * DAY - 1 < customer.ttl() <= 90 * DAY
    longer.update(a=1)
    assert 100 * DAY - 1 < customer.ttl() <= 100 * DAY


def test_a_life_that_cannot_be_is_refused(store: Any, open_store: Callable[..., Any]) -> None:
    with pytest.raises(errors.InvalidTTL):
        store.customer("c", ttl=0)
    with pytest.raises(errors.ConfigurationError):
        store.customer("c", timeout=0)
    with pytest.raises(errors.ConfigurationError):
        open_store(customer_ttl=-1)


def test_deleting_a_customer_forgets_everything_of_it(customer: Any, image: Record) -> None:
    customer.update(a=1)
    customer.merge_conversation("c1")
    customer.add_history("seen")
    assert customer.delete() is True
    assert (customer.exists(), customer.version(), customer.ttl()) == (False, 0, None)
    assert (customer.all(), customer.conversations(), customer.history()) == ({}, [], [])
    assert {name[:1] for name in image.fields()} <= {b"v", b"d", b"j"}
    assert customer.delete() is False
    assert customer.merge_conversation("c1") is True


def test_every_change_publishes_its_version(customer: Any, raw: redis.Redis) -> None:
    listener = raw.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(customer.key)
    listener.get_message(timeout=5)
    versions = [customer.update(a=1), customer.add_history("seen")]
    for change in (lambda: customer.link("c1"), lambda: customer.merge_conversation("c1"), customer.delete):
        change()
        versions.append(customer.version())
    heard: list[bytes] = []
    servers.wait_until(lambda: len(heard) == 5 or heard.extend(next_message(listener)), "every change was told")
    assert [int(version) for version in heard[:4]] == versions[:4]
    assert int(heard[4]) > int(heard[3])
    listener.close()


def next_message(listener: Any) -> list[bytes]:
    message = listener.get_message(timeout=1)
    return [message["data"]] if message else []


# Conversations --------------------------------------------------------------------------------------------------------


def test_conversations_are_listed_newest_first(customer: Any) -> None:
    assert customer.conversations() == []
    assert [customer.link(name) for name in ("c1", "c2", "c1", "c3")] == [True, True, False, True]
    customer.merge_conversation("c2")
    found = customer.conversations()
    assert all(type(each) is CustomerConversation for each in found)
    assert [each.id for each in found] == ["c3", "c2", "c1"]
    assert [each.ended_at is None for each in found] == [True, False, True]
    assert found[0].linked_at > found[1].linked_at > found[2].linked_at
    assert found[1].ended_at > found[0].linked_at and all(recent(each.linked_at) for each in found)
    assert customer.conversations(limit=2) == found[:2]


def test_linking_again_writes_nothing(customer: Any, image: Record) -> None:
    customer.link("c1")
    before = image.image()
    assert customer.link("c1") is False
    assert image.image() == before


def test_the_oldest_conversations_are_forgotten(customer: Any, image: Record) -> None:
    links = b"".join(
        b"%016d%016d%04d%b" % (n, n, len(b"c%d" % n), b"c%d" % n) for n in range(1, MOST_CONVERSATIONS + 1)
    )
    customer.update(a=1)
    image.poke("t", links)
    assert len(customer.conversations(limit=5_000)) == MOST_CONVERSATIONS
    assert customer.merge_conversation("c1") is False
    assert customer.link("new") is True
    found = [each.id for each in customer.conversations(limit=5_000)]
    assert (found[0], found[-1], len(found)) == ("new", "c2", MOST_CONVERSATIONS)
    # As the docstring says: what is forgotten is merged anew.
    assert customer.merge_conversation("c1") is True


def test_long_ids_shorten_the_list_and_not_the_newest(customer: Any, image: Record) -> None:
    customer.update(a=1)
    names = [b"%04d" % number + b"x" * 508 for number in range(MOST_CONVERSATIONS)]
    image.poke("t", b"".join(b"%016d%016d0512%b" % (7, 0, name) for name in names))
    customer.link("new")
    found = [each.id for each in customer.conversations(limit=5_000)]
    assert found[:2] == ["new", names[-1].decode()]
    assert 200 < len(found) < 300
    assert len(image.fields()[b"t"]) <= 128 * 1024


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids_are_kept_apart_and_come_back(store: Any, hostile: str) -> None:
    customer, plain = store.customer(hostile), store.customer("plain")
    assert customer.merge_conversation(hostile, {"a": 1}) is True
    assert customer.merge_conversation(hostile, {"a": 2}) is False
    assert [each.id for each in customer.conversations()] == [hostile]
    assert customer.get("last_conversation") == hostile
    assert not plain.exists()
    tag = customer.key[customer.key.index("{") + 1 : customer.key.index("}")]
    assert tag.startswith("cust:") and customer.key.endswith("{" + tag + "}")
    assert store.conversation(hostile, customer_id=hostile).customer.key == customer.key


@pytest.mark.parametrize("useless", ["", "x" * 513, "\ud800", None, 7, b"bytes"])
def test_useless_ids_are_refused(store: Any, customer: Any, useless: Any) -> None:
    for change in (
        lambda: store.customer(useless),
        lambda: customer.link(useless),
        lambda: customer.merge_conversation(useless),
    ):
        with pytest.raises(errors.InvalidId):
            change()
    assert not customer.exists()


def test_keys_of_customers_are_never_those_of_others() -> None:
    keys = {customer_key("rs", name) for name in HOSTILE}
    assert len(keys) == len(HOSTILE)


# History --------------------------------------------------------------------------------------------------------------


def test_history_is_kept_newest_first_with_the_time(customer: Any) -> None:
    assert customer.history() == []
    customer.add_history("bought", sku="sku-1", at=datetime(2026, 1, 2, tzinfo=UTC))
    customer.add_history("returned")
    returned, bought = customer.history()
    assert type(bought) is CustomerEvent
    assert (bought.event, bought.data) == ("bought", {"sku": "sku-1", "at": datetime(2026, 1, 2, tzinfo=UTC)})
    assert (returned.event, returned.data) == ("returned", {})
    assert recent(bought.at) and returned.at > bought.at
    assert customer.history(limit=1) == [returned]


def test_history_is_bounded_in_events(customer: Any) -> None:
    for number in range(MOST_EVENTS + 5):
        customer.add_history("seen", number=number)
    found = [event.data["number"] for event in customer.history(limit=1_000)]
    assert found == list(range(5, MOST_EVENTS + 5))[::-1]


def test_history_is_bounded_in_bytes_and_keeps_the_newest(customer: Any, image: Record) -> None:
    for number in range(10):
        customer.add_history("large", number=number, text="x" * 10_000)
    assert [event.data["number"] for event in customer.history()] == [9, 8, 7, 6, 5, 4]
    assert len(image.fields()[b"e"]) <= 65_600
    customer.add_history("huge", text="x" * 200_000)
    (event,) = customer.history()
    assert event.event == "huge"
    customer.add_history("small")
    assert [event.event for event in customer.history()] == ["small"]


# The whole ------------------------------------------------------------------------------------------------------------


def test_the_context_is_the_profile_and_the_last_conversations(customer: Any) -> None:
    assert customer.context() == {"conversations": []}
    customer.update(tier="gold")
    customer.link("c1")
    customer.link("c2")
    newest, oldest = customer.conversations()
    assert customer.context() == {
        "conversations": [
            {"id": "c2", "linked_at": newest.linked_at, "ended_at": None},
            {"id": "c1", "linked_at": oldest.linked_at, "ended_at": None},
        ],
        "tier": "gold",
    }
    assert [each["id"] for each in customer.context(limit=1)["conversations"]] == ["c2"]


def test_a_field_named_as_the_list_is_not_hidden_by_it(customer: Any) -> None:
    customer.update(conversations="mine")
    customer.link("c1")
    assert customer.context()["conversations"] == "mine"
    assert [each.id for each in customer.conversations()] == ["c1"]


def test_a_conversation_knows_its_customer_and_links_nothing(store: Any) -> None:
    conversation = store.conversation("c1", customer_id="cust_9")
    assert (conversation.customer_id, conversation.customer.id) == ("cust_9", "cust_9")
    conversation.state.set("a", 1)
    assert not conversation.customer.exists()
    conversation.customer.link(conversation.id)
    assert [each.id for each in store.customer("cust_9").conversations()] == ["c1"]
    assert conversation.if_logged_in.customer_id == "cust_9"
    assert (store.conversation("c1").customer, store.conversation("c1").customer_id) == (None, None)
