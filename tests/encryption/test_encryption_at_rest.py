"""What is encrypted, and that it is good in its place only."""

from __future__ import annotations

import datetime as dt
import logging
import pickle
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import redis
from encryption.conftest import OLD, encryption

import redstate
from redstate import Step, Workflow
from redstate.errors import (
    ConfigurationError,
    CorruptState,
    InvalidValue,
    MissingExtra,
    UnknownEncryptionKey,
    UnsupportedValue,
    WrongType,
)

SECRET = "4111-1111"
BOOKING = Workflow("booking", [Step("dates", collects={"note": str}, next="done"), Step("done", final=True)])
SEALED = b'{"~":["sealed","'


class Colour(Enum):
    RED = "red"


@dataclass
class Card:
    number: str


@dataclass
class Shop:
    name: str = ""
    visits: int = 0
    wishes: list[str] | None = None


VALUES = [
    None,
    True,
    1.5,
    7,
    -7,
    2**70,
    2**63,
    "",
    SECRET,
    "~",
    '{"~":["sealed","old","AAAA"]}',
    [],
    {},
    [1, [2, {"a": None}]],
    {"~": ["sealed", "old", "AAAA"]},
    {1: "a", None: "b"},
    (1, 2),
    {1, 2},
    frozenset({1}),
    b"\x00\xff",
    bytearray(b"x"),
    dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC),
    dt.date(2026, 11, 25),
    dt.time(1, 2),
    dt.timedelta(days=1),
    Decimal("1.10"),
    uuid.UUID(int=5),
    Colour.RED,
    Card(SECRET),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}")
def test_every_value_comes_back_as_it_went_in(store: redstate.Store, raw: redis.Redis, value: Any) -> None:
    conversation = store.conversation("c")
    conversation.state["it"] = value
    found = conversation.state.all()["it"]
    assert found == value and type(found) is type(value)
    stored = raw.hget(conversation.key, "sit")
    assert stored is not None and stored.startswith(SEALED) is not (type(value) is int and abs(value) < 2**64)


def fill(store: redstate.Store) -> tuple[redstate.Conversation, redstate.Customer]:
    conversation, customer = store.conversation("c", customer_id="cust"), store.customer("cust")
    conversation.state.update(card=SECRET, nested={"card": [SECRET]}, visits=41)
    conversation.state.increment("visits")
    conversation.cart.add("sku-1", 2, "9.99", attributes={"engraving": SECRET})
    conversation.cart.checkout("order-1")
    conversation.cart.start_over()
    conversation.cart.add("sku-2", 1, attributes={"engraving": SECRET})
    conversation.session.login("user-1", username=SECRET, phone=SECRET)
    conversation.workflow(BOOKING).collect(note=SECRET)
    customer.update(card=SECRET)
    customer.append("cards", SECRET, cap=3)
    customer.add_history("paid", card=SECRET)
    customer.add_history("paid", card=SECRET)
    store.cache.set("product", {"card": SECRET})
    return conversation, customer


def check(store: redstate.Store) -> None:
    conversation, customer = store.conversation("c"), store.customer("cust")
    assert conversation.state.all() == {"card": SECRET, "nested": {"card": [SECRET]}, "visits": 42}
    assert conversation.cart.lines()["sku-2"].attributes == {"engraving": SECRET}
    order = conversation.cart.order("order-1")
    assert order is not None and order.lines["sku-1"].attributes == {"engraving": SECRET}
    user = conversation.session.user()
    assert user is not None and (user.username, user.data) == (SECRET, {"phone": SECRET})
    assert conversation.workflow(BOOKING).status().data == {"note": SECRET}
    assert customer.all()["cards"] == [SECRET] and customer.get("card") == SECRET
    assert [event.data for event in customer.history()] == [{"card": SECRET}] * 2
    assert store.cache.get("product") == {"card": SECRET}


def everything(raw: redis.Redis, prefix: str) -> bytes:
    keys = raw.keys(f"{prefix}:*")
    return b"".join(name + value for key in keys for name, value in raw.hgetall(key).items())


def test_no_value_lies_in_the_server_as_it_is(store: redstate.Store, raw: redis.Redis, prefix: str) -> None:
    fill(store)
    check(store)
    found = everything(raw, prefix)
    assert SECRET.encode() not in found
    # What is said not to be encrypted.
    conversation = store.conversation("c")
    assert raw.hget(conversation.key, "svisits") == b"42"
    assert raw.hget(conversation.key, "csku-2") == b"1"


def test_only_the_fields_that_are_named_are_encrypted(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, prefix: str
) -> None:
    store = open_store("old", fields={"card", "pin"})
    conversation = store.conversation("c")
    conversation.state.update(card=SECRET, pin=1234, name="Ada", list=[1])
    conversation.state.append("list", 2)
    conversation.cart.add("sku", attributes={"card": "XL"})
    store.customer("cust").update(card=SECRET)
    fields = raw.hgetall(conversation.key)
    assert (fields[b"sname"], fields[b"slist"], fields[b"lsku"]) == (b'"Ada"', b"[1,2]", b'{"card":"XL"}')
    assert fields[b"scard"].startswith(SEALED) and fields[b"spin"].startswith(SEALED)
    assert SECRET.encode() not in everything(raw, prefix)
    assert conversation.state["pin"] == 1234


def test_what_was_stored_plain_is_read_and_encrypted_when_it_changes(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, prefix: str
) -> None:
    plain, sealing = open_store(), open_store("old")
    fill(plain)
    check(sealing)
    state = sealing.conversation("c").state
    state["nested"]["card"].append("x")
    plain.conversation("c").state["list"] = [SECRET]
    state["list"].append("y")
    state.append("list", "z")
    assert state["list"].copy() == [SECRET, "y", "z"]
    key = sealing.conversation("c").key
    assert all(raw.hget(key, name).startswith(SEALED) for name in ("snested", "slist"))  # type: ignore[union-attr]


# Bound to its place ---------------------------------------------------------------------------------------------------


def test_a_ciphertext_is_refused_in_another_field_record_or_kind_of_record(
    store: redstate.Store, raw: redis.Redis
) -> None:
    one, two, customer = store.conversation("1"), store.conversation("2"), store.customer("1")
    one.state.update(a=SECRET, b="b")
    two.state.update(a="a")
    customer.update(a="a")
    sealed = raw.hget(one.key, "sa")
    for handle, key, field in (
        (one.state, one.key, "b"),
        (two.state, two.key, "a"),
        (customer.state, customer.key, "a"),
    ):
        raw.hset(key, f"s{field}", sealed)
        for use in (
            lambda: handle.get(field),  # noqa: B023 - called at once
            lambda: handle.edit(field, lambda value: "new"),  # noqa: B023
            lambda: handle.append(field, 1),  # noqa: B023
            handle.all,
        ):
            with pytest.raises(CorruptState) as caught:
                use()
            assert (caught.value.key, caught.value.field) == (key, f"s{field}")
        assert raw.hget(key, f"s{field}") == sealed
    assert one.state["a"] == SECRET


def test_attributes_are_refused_on_another_line(store: redstate.Store, raw: redis.Redis) -> None:
    conversation = store.conversation("c")
    conversation.cart.add("a", attributes={"size": "S"})
    conversation.cart.add("b", attributes={"size": "L"})
    raw.hset(conversation.key, "lb", raw.hget(conversation.key, "la"))
    with pytest.raises(CorruptState):
        conversation.cart.lines()


def test_a_changed_byte_is_refused(store: redstate.Store, raw: redis.Redis) -> None:
    conversation = store.conversation("c")
    conversation.state["a"] = SECRET
    good = raw.hget(conversation.key, "sa")
    assert good is not None
    for at in range(16, len(good)):
        other = b"B" if good[at : at + 1] == b"A" else b"A"
        raw.hset(conversation.key, "sa", good[:at] + other + good[at + 1 :])
        with pytest.raises((CorruptState, UnknownEncryptionKey)):
            conversation.state.get("a", fresh=True)
    for bad in (good[:-5], good[:40] + b'"]}', b'{"~":["sealed"]}', b'{"~":["sealed","old","x",1]}', b"[%b]" % good):
        raw.hset(conversation.key, "sa", bad)
        with pytest.raises(CorruptState):
            conversation.state.get("a", fresh=True)


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [(), ("new",)], ids=["no encryption", "another key"])
def test_without_its_key_a_value_is_refused_and_left_alone(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, ids: tuple[str, ...]
) -> None:
    conversation, _ = fill(open_store("old"))
    other = open_store(*ids)
    before = raw.hgetall(conversation.key)
    state = other.conversation("c").state
    for use in (
        lambda: state["card"],
        state.all,
        lambda: state.edit("card", lambda value: "new"),
        lambda: state["nested"],
        other.conversation("c").cart.lines,
        other.conversation("c").session.user,
        lambda: other.conversation("c").workflow(BOOKING).status(),
        lambda: other.customer("cust").history(),
        lambda: other.cache.get("product"),
    ):
        with pytest.raises(UnknownEncryptionKey, match="Add the key") as caught:
            use()
        assert caught.value.key_id == "old" and caught.value.field
    if ids:
        with pytest.raises(UnknownEncryptionKey):
            other.conversation("c").reencrypt()
    with pytest.raises((UnknownEncryptionKey, WrongType)):
        state.append("card", 1)
    assert raw.hgetall(conversation.key) == before


def test_a_value_under_an_old_key_is_read_and_written_under_the_current_one(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, prefix: str
) -> None:
    conversation, _customer = fill(open_store("old"))
    both = open_store("new", "old")
    check(both)
    both.conversation("c").state.edit("card", lambda card: card)
    assert raw.hget(conversation.key, "scard").startswith(b'{"~":["sealed","new"')  # type: ignore[union-attr]
    version = both.conversation("c").version()
    # nested, the attributes of a line and of an order, the user, the workflow
    assert both.conversation("c").reencrypt() == 5
    assert both.conversation("c").version() > version
    assert both.customer("cust").reencrypt() == 4
    assert both.conversation("c").reencrypt() == both.customer("cust").reencrypt() == 0
    both.cache.set("product", {"card": SECRET})
    assert b'"old"' not in everything(raw, prefix)
    check(open_store("new"))


def test_what_was_plain_is_encrypted_at_once_by_reencrypting_and_plain_again_without_fields(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, prefix: str
) -> None:
    conversation, _customer = fill(open_store())
    plain = raw.hgetall(conversation.key)
    sealing = open_store("old")
    assert (sealing.conversation("c").reencrypt(), sealing.customer("cust").reencrypt()) == (6, 4)
    sealing.cache.delete("product")
    assert SECRET.encode() not in everything(raw, prefix)
    leaving = open_store("old", fields=set())
    assert leaving.conversation("c").reencrypt() == 6
    found = raw.hgetall(conversation.key)
    assert {name: value for name, value in found.items() if name[:1] not in b"vj"} == {
        name: value for name, value in plain.items() if name[:1] not in b"vj"
    }


async def _reencrypted(url: str, prefix: str) -> int:
    async with redstate.AsyncStore.from_url(url, key_prefix=prefix, encryption=encryption("new", "old")) as store:
        return await store.conversation("c").reencrypt()


def test_reencrypting_is_awaited_in_the_other_colour(
    open_store: Callable[..., redstate.Store], url: str, prefix: str
) -> None:
    import asyncio

    fill(open_store("old"))
    assert asyncio.run(_reencrypted(url, prefix)) == 6


def test_reencrypting_needs_encryption_and_no_transaction(open_store: Callable[..., redstate.Store]) -> None:
    with pytest.raises(ConfigurationError, match="no encryption"):
        open_store().conversation("c").reencrypt()
    conversation = open_store("old").conversation("c")
    with conversation.transaction(), pytest.raises(ConfigurationError, match="transaction"):
        conversation.reencrypt()


# Configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "current", "fields"),
    [
        ({}, None, None),
        ({"a": b"short"}, None, None),
        ({"a": SECRET}, None, None),
        ({"a": 5}, None, None),
        ({"a:b": OLD}, None, None),
        ({"": OLD}, None, None),
        ({OLD: "a"}, None, None),
        ({"a": OLD}, "b", None),
        ({"a": OLD}, None, "ssn"),
        ({"a": OLD}, None, {5}),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_being_shown(keys: Any, current: Any, fields: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        redstate.Encryption(keys, current, fields)
    assert SECRET not in str(caught.value) and "short" not in str(caught.value)


def test_keys_come_as_bytes_or_base64_and_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    import base64

    text = base64.b64encode(OLD).decode()
    one = redstate.Encryption({"k1": text, "k0": OLD}, fields=["ssn"])
    assert one == redstate.Encryption({"k1": base64.urlsafe_b64encode(OLD).decode(), "k0": OLD}, "k1", {"ssn"})
    assert one != redstate.Encryption({"k1": bytes(32), "k0": OLD}, fields=["ssn"])
    assert repr(one) == "<Encryption of ssn; keys k1 (current), k0>"
    with pytest.raises(TypeError, match="holds keys"):
        pickle.dumps(one)
    assert text not in repr(one) and repr(OLD) not in repr(one)


def test_the_environment_gives_keys_and_fields(monkeypatch: pytest.MonkeyPatch, url: str, prefix: str) -> None:
    import base64

    text = base64.b64encode(OLD).decode()
    monkeypatch.setenv("REDSTATE_URL", url)
    monkeypatch.setenv("REDSTATE_ENCRYPTED_FIELDS", "ssn, card")
    with pytest.raises(ConfigurationError, match="there is no key"):
        redstate.Store.from_env(key_prefix=prefix)
    monkeypatch.setenv("REDSTATE_ENCRYPTION_KEYS", f"k1:{text}, k0:{text}")
    assert redstate.Encryption.from_environment() == redstate.Encryption({"k1": OLD, "k0": OLD}, "k1", {"ssn", "card"})
    with redstate.Store.from_env(key_prefix=prefix) as store:
        store.conversation("c").state["ssn"] = SECRET
        assert store.conversation("c").state["ssn"] == SECRET
    for bad in (f"k1:{text},k1:{text}", text, "k1"):
        monkeypatch.setenv("REDSTATE_ENCRYPTION_KEYS", bad)
        with pytest.raises(ConfigurationError) as caught:
            redstate.Encryption.from_environment()
        assert text not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"redstate\.Encryption"):
        redstate.Store.from_url(url, encryption="k1")  # type: ignore[arg-type]


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingExtra, match=r"redstate\[encryption\]"):
        redstate.Encryption({"a": OLD})


def test_errors_and_logs_show_neither_keys_nor_values(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    conversation, _ = fill(open_store("old"))
    shown = []
    for ids in ((), ("new",)):
        try:
            open_store(*ids).conversation("c").state["card"]
        except UnknownEncryptionKey as error:
            shown += traceback.format_exception(error) + [repr(error), str(error.data), repr(error.as_result())]
    raw.hset(conversation.key, "scard", raw.hget(conversation.key, "snested"))
    try:
        conversation.state.get("card")
    except CorruptState as error:
        shown += traceback.format_exception(error)
    try:
        conversation.state["card"] = [SECRET, object()]
    except UnsupportedValue as error:
        shown += traceback.format_exception(error)
    assert len(shown) > 10
    text = "".join(shown) + caplog.text + repr(open_store("old"))
    assert SECRET not in text.replace('"4111-1111"', "") and OLD.hex() not in text and repr(OLD) not in text


# Typed state ----------------------------------------------------------------------------------------------------------


def test_a_state_that_is_held_to_a_schema_is_encrypted_too(
    open_store: Callable[..., redstate.Store], raw: redis.Redis, prefix: str
) -> None:
    for fields in (None, {"name", "visits", "wishes"}):
        store = open_store("old", fields=fields)
        shop = store.conversation(f"c{fields is None}", schema=Shop)
        shop.state["name"] = SECRET
        assert [shop.state.increment("visits") for _ in range(3)] == [1, 2, 3]
        shop.state["visits"] += 1
        shop.state.append("wishes", SECRET)
        shop.state["wishes"].append("b")
        with shop.transaction():
            shop.state.increment("visits")
            shop.state.append("wishes", "c")
        assert shop.typed() == Shop(SECRET, 5, [SECRET, "b", "c"])
        with pytest.raises(InvalidValue):
            shop.state["wishes"].append(5)
    assert SECRET.encode() not in everything(raw, prefix)
