"""How long a conversation lives, how it ends, and what keeps conversations apart."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from contract.records import Record

from redstate import errors


def test_every_change_slides_the_expiry(open_store: Any, record: Record) -> None:
    conversation = open_store(ttl=500.0).conversation("conv_123")
    changes = [
        lambda: conversation.state.update(a=1, n=1, list=[]),
        lambda: conversation.state.increment("n"),
        lambda: conversation.state.append("list", 1),
        lambda: conversation.cart.add("sku"),
        lambda: conversation.cart.set_quantity("sku", 2),
        lambda: conversation.cart.remove("sku"),
        conversation.cart.clear,
        lambda: conversation.state.delete("a"),
    ]
    for change in changes:
        change()
        assert 490 < conversation.ttl() <= 500
        record.raw.pexpire(record.key, 10_000)


def test_reads_do_not_slide_the_expiry(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    record.raw.pexpire(record.key, 10_000)
    conversation.state.get("a"), conversation.state.all(), conversation.cart.total(), conversation.version()
    assert conversation.ttl() <= 10


def test_a_refused_change_does_not_slide_the_expiry(conversation: Any, record: Record) -> None:
    conversation.state.set("a", "text")
    record.raw.pexpire(record.key, 10_000)
    with pytest.raises(errors.WrongType):
        conversation.state.increment("a")
    with pytest.raises(errors.ConflictError):
        conversation.state.set("a", 1, expected_version=1)
    assert conversation.ttl() <= 10


def test_a_handle_may_have_its_own_expiry(store: Any) -> None:
    conversation = store.conversation("c", ttl=60)
    conversation.state.set("a", 1)
    assert 50 < conversation.ttl() <= 60


def test_touch_slides_the_expiry_without_a_change(conversation: Any) -> None:
    version = conversation.state.set("a", 1)
    assert conversation.touch(7) is True
    assert conversation.ttl() <= 7
    assert conversation.touch() is True
    assert conversation.ttl() > 80_000
    assert conversation.version() == version


def test_touch_makes_nothing_out_of_nothing(conversation: Any, record: Record) -> None:
    assert conversation.touch() is False
    assert record.fields() == {}


@pytest.mark.parametrize("ttl", [0, -1, 0.0001, float("nan"), float("inf"), 1e12, "60", True, [1]], ids=repr)
def test_an_expiry_that_is_none_is_refused(store: Any, ttl: Any) -> None:
    with pytest.raises(errors.InvalidTTL):
        store.conversation("c", ttl=ttl)
    with pytest.raises(errors.InvalidTTL):
        store.conversation("c").touch(ttl)


def test_what_is_absent_has_no_ttl(conversation: Any) -> None:
    assert conversation.ttl() is None


def test_an_expired_conversation_is_absent(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    record.raw.pexpire(record.key, 0)
    assert (conversation.exists(), conversation.version(), conversation.state.all(), conversation.ttl()) == (
        False, 0, {}, None,
    )  # fmt: skip
    assert conversation.state.increment("n") == 1


def test_delete_leaves_nothing_to_see(conversation: Any) -> None:
    conversation.state.update(a=1, b=2)
    conversation.cart.add("sku", 1, "5")
    assert conversation.delete() is True
    assert (conversation.exists(), conversation.version(), conversation.ttl()) == (False, 0, None)
    assert (conversation.state.all(), conversation.state.get("a"), conversation.cart.lines()) == ({}, None, {})
    assert conversation.touch() is False


def test_delete_of_what_is_absent(conversation: Any, record: Record) -> None:
    assert conversation.delete() is False
    assert not conversation.exists()
    assert record.fields("s") == {}
    conversation.state.set("a", 1)
    assert [conversation.delete(), conversation.delete()] == [True, False]


def test_a_repeated_delete_of_what_was_absent_takes_nothing_that_came_since(conversation: Any) -> None:
    assert conversation.delete(op_id="clean-up") is False
    conversation.state.set("a", 1)
    assert conversation.delete(op_id="clean-up") is False
    assert conversation.state.all() == {"a": 1}


def test_a_delete_of_what_is_absent_keeps_to_its_expected_version(conversation: Any) -> None:
    with pytest.raises(errors.ConflictError):
        conversation.delete(expected_version=5)


def test_a_deleted_conversation_is_at_version_zero_for_conditions_too(conversation: Any) -> None:
    conversation.state.set("a", 1)
    conversation.delete()
    with pytest.raises(errors.ConflictError) as caught:
        conversation.state.set("a", 2, expected_version=7)
    assert caught.value.current_version == 0


def test_a_deleted_conversation_leaves_the_server_within_its_window(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    conversation.delete()
    assert 0 < record.raw.pttl(record.key) <= 600_000


def test_a_deleted_conversation_can_begin_anew_and_its_version_goes_on(conversation: Any) -> None:
    before = conversation.state.set("a", 1)
    conversation.delete()
    assert conversation.state.increment("n") == 1
    assert conversation.state.all() == {"n": 1}
    assert conversation.version() > before
    assert conversation.ttl() > 80_000
    assert conversation.delete() is True


def test_conversations_do_not_see_each_other(store: Any) -> None:
    one, two = store.conversation("one"), store.conversation("two")
    one.state.set("a", 1)
    one.cart.add("sku", 1, "2")
    two.state.set("a", 2)
    one.delete()
    assert (two.state.all(), two.cart.lines()) == ({"a": 2}, {})


def test_stores_with_different_prefixes_do_not_see_each_other(open_store: Any, prefix: str) -> None:
    one, two = (open_store(key_prefix=f"{prefix}-{name}").conversation("c") for name in "ab")
    one.state.set("a", 1)
    assert not two.exists()


def test_the_same_id_is_the_same_conversation_everywhere(open_store: Any) -> None:
    one, two = open_store().conversation("c"), open_store().conversation("c")
    one.state.set("a", 1)
    assert two.state.increment("a") == 2
    assert one.state.get("a") == 2


def test_a_conversation_is_one_hash(conversation: Any, raw: redis.Redis, prefix: str) -> None:
    conversation.state.set("a", 1)
    conversation.cart.add("sku")
    assert list(raw.scan_iter(f"{prefix}*", count=10_000)) == [conversation.key.encode()]
    assert raw.type(conversation.key) == b"hash"


def test_each_change_publishes_its_version_and_no_value(conversation: Any, raw: redis.Redis) -> None:
    channel = raw.pubsub(ignore_subscribe_messages=False)
    channel.subscribe(conversation.key)
    assert channel.get_message(timeout=5)["type"] == "subscribe"
    version = conversation.state.set("secret", "value")
    message = channel.get_message(timeout=5)
    channel.close()
    assert (message["channel"], message["data"]) == (conversation.key.encode(), str(version).encode())


def test_a_closed_store_refuses_every_call(open_store: Any) -> None:
    store = open_store()
    conversation = store.conversation("c")
    conversation.state.set("a", 1)
    store.close()
    store.close()
    for call in (lambda: conversation.state.set("a", 2), lambda: conversation.state.get("a"), store.ping):
        with pytest.raises(errors.StoreClosed):
            call()
    assert open_store().conversation("c").state.get("a") == 1


def test_a_ping_takes_time(store: Any) -> None:
    assert 0 < store.ping() < 20


def test_an_injected_client_is_not_closed(contract_url: str, prefix: str, colour: str) -> None:
    from redstate import AsyncStore, Store

    client = redis.Redis.from_url(contract_url)
    if colour == "sync":
        with Store.from_client(client, key_prefix=prefix) as store:
            store.conversation("c").state.set("a", 1)
    else:
        import asyncio

        async def use() -> None:
            async with AsyncStore.from_client(client, key_prefix=prefix) as store:
                await store.conversation("c").state.set("a", 1)

        asyncio.run(use())
    assert client.hget(f"{prefix}:{{conv:c}}", "sa") == b"1"
    client.close()


# Handles --------------------------------------------------------------------------------------------------------------


def bare(handle: Any) -> Any:
    """The handle itself, where a test drives it through another object."""
    return getattr(handle, "_target", handle)


def test_the_parts_of_a_handle_cannot_be_assigned(store: Any, record: Record) -> None:
    for conversation in map(bare, (store.conversation("conv_123"), store.conversation("conv_123").if_logged_in)):
        with pytest.raises(AttributeError, match=r"state\.update.*save_state"):
            conversation.state = {"name": "Ada"}
        for name in ("id", "key", "cart", "session", "customer", "customer_id"):
            part = getattr(conversation, name)
            with pytest.raises(AttributeError, match=name):
                setattr(conversation, name, {})
            assert getattr(conversation, name) is part
    assert record.fields() == {}


@pytest.mark.parametrize("colour", ["sync"])
def test_a_state_takes_in_a_dict_where_it_stands(store: Any, colour: str) -> None:
    conversation = store.conversation("conv_123")
    conversation.state |= {"name": "Ada"}
    assert conversation.state.copy() == {"name": "Ada"}


def test_a_store_shows_where_it_is_and_no_credentials(store: Any, prefix: str) -> None:
    shown = bare(store)
    assert repr(shown) == f"<{type(shown).__name__} at {shown.address}, prefix {prefix}>"
    other = type(shown).from_url("redis://ada:s3cret@localhost:1/0", key_prefix=prefix)
    assert repr(other) == f"<{type(shown).__name__} at localhost:1, prefix {prefix}>"


def test_an_option_that_there_is_not_is_named_with_those_that_there_are(open_store: Any) -> None:
    with pytest.raises(
        errors.ConfigurationError, match=r"no option foo, bar\. The options are key_prefix, ttl, .*limits"
    ):
        open_store(foo=1, bar=2)
