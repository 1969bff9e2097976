"""What a customer refuses, how, and that it leaves every byte where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from contract.records import Record
from contract.test_contract_customer_merge import merged
from contract.test_contract_refusals import refused

from redstate import Limits, errors


@pytest.fixture
def customer(store: Any) -> Any:
    return store.customer("cust_9")


@pytest.fixture
def image(raw: redis.Redis, customer: Any, store: Any) -> Record:
    """The record of ``customer``."""
    return Record(raw, customer.key, store.nearcache)


def test_a_refused_change_leaves_every_byte(customer: Any, image: Record) -> None:
    customer.update(text="x", number=1)
    customer.link("c1")
    customer.increment("number", op_id="used")
    for change, error in (
        (lambda: customer.append("text", 1, cap=2), errors.WrongType),
        (lambda: customer.append("text", 1), errors.WrongType),
        (lambda: customer.append("list", 1, cap=0), errors.InvalidInput),
        (lambda: customer.append("list", object(), cap=1), errors.UnsupportedValue),
        (lambda: customer.append("list", 1, cap=1, op_id="used"), errors.OperationMismatch),
        (lambda: customer.increment("text"), errors.WrongType),
        (lambda: customer.merge_conversation("c1", {"a": object()}), errors.UnsupportedValue),
        (lambda: customer.merge_conversation("c1", {"": 1}), errors.InvalidField),
        (lambda: customer.merge_conversation("c1", 7), errors.InvalidField),
        (lambda: merged(customer, "c1", lambda profile: profile.clear()), errors.InvalidField),
        (lambda: customer.add_history(""), errors.InvalidField),
        (lambda: customer.add_history("e" * 257), errors.InvalidField),
        (lambda: customer.add_history("event", thing=object()), errors.UnsupportedValue),
        (lambda: customer.add_history("event", op_id="used"), errors.OperationMismatch),
        (lambda: customer.history(limit=0), errors.InvalidInput),
        (lambda: customer.conversations(limit=True), errors.InvalidInput),
        (lambda: customer.context(limit=-1), errors.InvalidInput),
        (lambda: customer.delete(expected_version=7), errors.ConflictError),
    ):
        refused(change, image, error)


def test_an_error_of_the_function_is_the_callers_and_nothing_is_merged(customer: Any, image: Record) -> None:
    customer.update(a=1)
    before = image.image()
    with pytest.raises(ZeroDivisionError):
        merged(customer, "c1", lambda profile: {"a": 1 // 0})
    assert image.image() == before
    assert customer.merge_conversation("c1") is True


def test_a_merge_above_the_caps_is_refused(open_store: Callable[..., Any], raw: redis.Redis) -> None:
    customer = open_store(limits=Limits(max_fields=4, max_value_bytes=100)).customer("cust_9")
    customer.update(a=1, b=2, c=3)
    image = Record(raw, customer.key)
    refused(lambda: customer.merge_conversation("c1"), image, errors.TooLarge)
    refused(lambda: customer.merge_conversation("c1", {"a": "x" * 200}), image, errors.TooLarge)
    refused(lambda: customer.add_history("event", text="x" * 200), image, errors.TooLarge)


@pytest.mark.parametrize(
    "links",
    [b"", b"x", b"0" * 35, b"0" * 32 + b"0009c1", b"0" * 32 + b"-001c", b"0" * 32 + b"0001\xff", b"0" * 32 + b"0001cc"],
)
def test_a_list_that_is_none_is_corrupt_and_stays(customer: Any, image: Record, links: bytes) -> None:
    customer.update(a=1)
    image.poke("t", links)
    if not links:
        assert customer.conversations() == []
        return
    for call in (
        customer.conversations,
        customer.context,
        lambda: customer.link("c1"),
        lambda: customer.merge_conversation("c1"),
    ):
        error = refused(call, image, errors.CorruptState)
        assert (error.key, error.field) == (customer.key, "t")
    assert customer.all() == {"a": 1}


@pytest.mark.parametrize(
    "history",
    [b"", b"x", b"000001", b"000000x", b"000001" + b"0" * 26 + b"x", b"000001" + b"0" * 25 + b"2{}", b"999999"],
)
def test_a_history_that_is_none_is_corrupt_and_stays(customer: Any, image: Record, history: bytes) -> None:
    customer.add_history("seen")
    image.poke("e", history)
    error = refused(customer.history, image, errors.CorruptState)
    assert (error.key, error.field) == (customer.key, "e")


@pytest.mark.parametrize("history", [b"", b"x", b"999999", b"000200" + b"x" * 40])
def test_a_history_that_cannot_be_appended_to_is_corrupt_and_stays(
    customer: Any, image: Record, history: bytes
) -> None:
    customer.add_history("seen")
    image.poke("e", history)
    error = refused(lambda: customer.add_history("more"), image, errors.CorruptState)
    assert (error.key, error.field) == (customer.key, "e")
