"""What is refused, how, and that it leaves every byte where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract.records import Record
from contract.test_contract_operations import CHANGES

from redstate import Limits, errors


def read_everything(conversation: Any) -> list[Callable[[], Any]]:
    return [conversation.state.all, conversation.cart.lines, conversation.cart.total, conversation.cart.count]


def refused(change: Callable[[], Any], record: Record, error: type[errors.RedstateError]) -> Any:
    """The error of a change that must leave the record byte for byte as it is."""
    image = record.image()
    with pytest.raises(error) as caught:
        change()
    assert record.image() == image
    assert "\r" not in str(caught.value) and "\n" not in str(caught.value)
    return caught.value


def test_a_conversation_takes_fields_up_to_its_cap(open_store: Any, record: Record) -> None:
    conversation = open_store(limits=Limits(max_fields=10)).conversation("conv_123")
    conversation.state.set("first", 1)
    while True:
        before = record.fields()
        try:
            conversation.state.set(f"field-{len(before)}", 1)
        except errors.TooLarge as error:
            assert (error.limit, error.actual, error.unit) == (10, None, "fields")
            break
        assert len(record.fields("s")) <= 10
    assert record.fields() == before
    assert len(record.fields("s")) == 10
    for change in (
        lambda: conversation.state.increment("new"),
        lambda: conversation.state.append("new", 1),
        lambda: conversation.state.update(new=1, first=2),
        lambda: conversation.cart.add("new"),
    ):
        assert refused(change, record, errors.TooLarge).limit == 10
    conversation.state.set("first", 2)
    assert conversation.state.increment("first") == 3


def test_more_fields_than_the_cap_are_refused_before_they_are_sent(open_store: Any) -> None:
    conversation = open_store(limits=Limits(max_fields=10)).conversation("c")
    with pytest.raises(errors.TooLarge) as caught:
        conversation.state.update({str(number): 1 for number in range(11)})
    assert (caught.value.limit, caught.value.actual) == (10, 11)
    with pytest.raises(errors.TooLarge):
        conversation.state.delete(*map(str, range(11)))
    assert not conversation.exists()


def test_a_value_above_the_cap_on_bytes_is_refused(open_store: Any) -> None:
    conversation = open_store(limits=Limits(max_value_bytes=100)).conversation("c")
    conversation.state.set("fits", "x" * 98)
    with pytest.raises(errors.TooLarge) as caught:
        conversation.state.set("big", "x" * 99)
    assert (caught.value.path, caught.value.limit, caught.value.actual) == ("big", 100, 101)
    assert conversation.state.all() == {"fits": "x" * 98}


@pytest.mark.parametrize("kind", ["string", "list", "set"])
def test_a_key_of_another_type_is_corrupt_and_stays(conversation: Any, record: Record, kind: str) -> None:
    store = {"string": record.raw.set, "list": record.raw.rpush, "set": record.raw.sadd}[kind]
    store(record.key, "not ours")
    calls = [lambda change=change: change(conversation) for change in CHANGES.values()]
    calls += [lambda: conversation.state.get("a"), conversation.version, *read_everything(conversation)]
    calls += [conversation.touch, conversation.exists]
    for call in calls:
        assert refused(call, record, errors.CorruptState).key == conversation.key


@pytest.mark.parametrize(
    "version", ["", "garbage", "1", "-600000000000000", "1e99999999999999", "0x1234567890abcd", " 16000000000000 ",
                "160000000000000", "16000000000000000", "\r\n", b"\xff" * 16],
)  # fmt: skip
def test_a_version_that_is_none_is_corrupt_and_stays(conversation: Any, record: Record, version: Any) -> None:
    conversation.state.update(a=0, n=5, list=[])
    conversation.cart.add("sku", 1)
    record.poke("v", version)
    for change in CHANGES.values():
        for named in ({}, {"op_id": "new"}, {"expected_version": 1_600_000_000_000_000}):
            error = refused(
                lambda change=change, named=named: change(conversation, **named), record, errors.CorruptState
            )
            assert (error.key, error.field) == (conversation.key, "v")
    for read in (conversation.version, conversation.state.all, conversation.cart.lines):
        assert refused(read, record, errors.CorruptState).field == "v"


@pytest.mark.parametrize("journal", ["garbage", ";", "1000000000", "1000000000|", "1000000000si", "zz|1"])
def test_a_journal_that_is_none_is_corrupt_and_stays(conversation: Any, record: Record, journal: str) -> None:
    conversation.state.set("n", 1)
    record.poke("j!order-17", journal)
    error = refused(lambda: conversation.state.increment("n", op_id="order-17"), record, errors.CorruptState)
    assert (error.key, error.field) == (conversation.key, "j!order-17")


@pytest.mark.parametrize("quantity", ["", "garbage", "0", "-1", "1.5", "1 2", "1e99", "x", "\r\n", b"\xff"])
def test_a_quantity_that_is_none_is_corrupt_and_stays(conversation: Any, record: Record, quantity: Any) -> None:
    conversation.cart.add("good", 1, "1")
    record.poke("csku", quantity)
    calls = [lambda: conversation.cart.add("sku"), lambda: conversation.cart.set_quantity("sku", 2)]
    for call in (*calls, conversation.cart.lines, conversation.cart.total, conversation.cart.count):
        error = refused(call, record, errors.CorruptState)
        assert (error.key, error.field) == (conversation.key, "csku")
    assert conversation.cart.remove("sku") is True
    assert conversation.cart.count() == 1


@pytest.mark.parametrize(
    ("field", "text"), [("psku", "1,50"), ("psku", "-1"), ("psku", ""), ("asku", "1"), ("asku", "x")]
)
def test_a_price_or_an_age_that_is_none_is_corrupt_and_stays(
    conversation: Any, record: Record, field: str, text: str
) -> None:
    conversation.cart.add("sku", 1, "1")
    record.poke(field, text)
    for read in (conversation.cart.lines, conversation.cart.total, conversation.cart.count):
        assert refused(read, record, errors.CorruptState).field == field
    assert conversation.cart.remove("sku") is True
    assert conversation.cart.lines() == {}


@pytest.mark.parametrize("value", ["", "garbage", "{", '{"a":', b"\xff", "[1] [2]", '{"~":"no such tag","v":1}', "NaN"])
def test_a_value_that_is_none_is_corrupt_and_stays(conversation: Any, record: Record, value: Any) -> None:
    conversation.state.set("good", 1)
    record.poke("sbad", value)
    for read in (lambda: conversation.state.get("bad"), conversation.state.all):
        error = refused(read, record, errors.CorruptState)
        assert (error.key, error.field) == (conversation.key, "sbad")
    assert conversation.state.get("good") == 1
    conversation.state.set("bad", "mended")
    assert conversation.state.all() == {"good": 1, "bad": "mended"}


def test_a_record_without_a_version_is_corrupt(conversation: Any, record: Record) -> None:
    record.poke("sa", "1")
    assert refused(conversation.state.all, record, errors.CorruptState).field == "v"


def test_every_refusal_of_the_server_leaves_the_record_alone(conversation: Any, record: Record) -> None:
    conversation.state.update(text="x", top=2**63 - 1, number=1)
    conversation.cart.add("sku", 1_000_000_000, "1")
    record.poke("cbad", "x")
    conversation.state.increment("number", op_id="used")
    state, cart = conversation.state, conversation.cart
    for change, error in (
        (lambda: state.increment("text"), errors.WrongType),
        (lambda: state.increment("top"), errors.WrongType),
        (lambda: state.append("text", 1), errors.WrongType),
        (lambda: cart.add("sku"), errors.TooLarge),
        (lambda: cart.add("bad"), errors.CorruptState),
        (lambda: cart.set_quantity("absent", 1), errors.WrongType),
        (lambda: state.set("text", 1, expected_version=7), errors.ConflictError),
        (lambda: state.append("x", 1, op_id="used"), errors.OperationMismatch),
        (lambda: state.set("text", {1, float("inf")}), errors.UnsupportedValue),
    ):
        refused(change, record, error)


CRLF = "x\r\n-ERR injected\r\n+OK\r\n$3\r\n"


def test_user_text_never_breaks_out_into_the_protocol_or_an_error(conversation: Any, record: Record) -> None:
    state, cart = conversation.state, conversation.cart
    state.set(CRLF, CRLF)
    cart.add(CRLF, 1_000_000_000)
    state.set("op", 1, op_id=CRLF)
    for change in (
        lambda: state.increment(CRLF),
        lambda: state.append(CRLF, 1),
        lambda: cart.add(CRLF),
        lambda: cart.set_quantity(CRLF + "2", 1),
        lambda: state.increment("n", op_id=CRLF),
        lambda: state.set(CRLF, CRLF, expected_version=3),
        lambda: state.set(CRLF, object()),
    ):
        refused(change, record, errors.RedstateError)
    assert state.all() == {CRLF: CRLF, "op": 1}
    assert list(cart.lines()) == [CRLF]
