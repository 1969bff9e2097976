"""What a cart may hold, and what else its lines carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from contract.records import Record

from redstate import CartLimits, CartLine, Limits, errors


def refused(change: Callable[[], Any], record: Record, error: type[errors.RedstateError]) -> Any:
    """The error of a change that must leave the record byte for byte as it is."""
    image = record.image()
    with pytest.raises(error) as caught:
        change()
    assert record.image() == image
    return caught.value


def limited(change: Callable[[], Any], record: Record) -> tuple[str, str, int]:
    error = refused(change, record, errors.CartLimit)
    assert error.key == record.key
    return error.sku, error.what, error.limit


@pytest.fixture
def limited_cart(open_store: Any) -> Callable[..., Any]:
    return lambda **limits: open_store(cart_limits=CartLimits(**limits)).conversation("conv_123").cart


# Limits --------------------------------------------------------------------------------------------------------------


def test_a_cart_takes_lines_up_to_its_limit(limited_cart: Any, record: Record) -> None:
    cart = limited_cart(max_lines=2)
    cart.add("a")
    cart.add("b")
    assert limited(lambda: cart.add("c"), record) == ("c", "lines", 2)
    assert cart.add("a", 5) == 6
    cart.remove("b")
    assert cart.add("c") == 1
    assert list(cart.lines()) == ["a", "c"]


def test_a_line_takes_pieces_up_to_its_limit(limited_cart: Any, record: Record) -> None:
    cart = limited_cart(max_quantity=3)
    assert limited(lambda: cart.add("a", 4), record) == ("a", "quantity", 3)
    assert cart.add("a", 2) == 2
    assert limited(lambda: cart.add("a", 2), record) == ("a", "quantity", 3)
    assert limited(lambda: cart.set_quantity("a", 4), record) == ("a", "quantity", 3)
    assert cart.add("a") == 3
    assert cart.set_quantity("a", 1) == 1


def test_a_cart_takes_pieces_up_to_its_limit(limited_cart: Any, record: Record) -> None:
    cart = limited_cart(max_pieces=5)
    assert limited(lambda: cart.add("a", 6), record) == ("a", "pieces", 5)
    cart.add("a", 2)
    cart.add("b", 3)
    assert limited(lambda: cart.add("a"), record) == ("a", "pieces", 5)
    assert limited(lambda: cart.add("c"), record) == ("c", "pieces", 5)
    assert limited(lambda: cart.set_quantity("b", 4), record) == ("b", "pieces", 5)
    assert cart.set_quantity("b", 1) == 1
    assert cart.add("c", 2) == 2
    assert cart.count() == 5


def test_limits_hold_together(limited_cart: Any, record: Record) -> None:
    cart = limited_cart(max_lines=2, max_quantity=4, max_pieces=6)
    cart.add("a", 4, attributes={"size": "L"})
    assert limited(lambda: cart.add("a"), record)[1] == "quantity"
    assert limited(lambda: cart.add("b", 3), record)[1] == "pieces"
    cart.add("b", 2, attributes={"size": "S"})
    assert limited(lambda: cart.add("c", 1, attributes={"size": "M"}), record)[1] == "lines"


def test_a_handle_can_have_limits_of_its_own(open_store: Any, record: Record) -> None:
    store = open_store(cart_limits=CartLimits(max_lines=1))
    store.conversation("conv_123").cart.add("a", 9)
    assert limited(lambda: store.conversation("conv_123").cart.add("b"), record) == ("b", "lines", 1)
    wide = store.conversation("conv_123", cart_limits=CartLimits(max_lines=2)).cart
    assert wide.add("b") == 1
    strict = store.conversation("conv_123", cart_limits=CartLimits(max_quantity=3)).cart
    assert limited(lambda: strict.add("a"), record) == ("a", "quantity", 3)
    assert store.conversation("conv_123", cart_limits=CartLimits()).cart.add("c", 1_000_000_000) == 1_000_000_000


def test_what_takes_pieces_away_is_never_refused(open_store: Any, limited_cart: Any) -> None:
    full = open_store().conversation("conv_123").cart
    full.add("a", 10)
    full.add("b", 10)
    cart = limited_cart(max_lines=1, max_quantity=2, max_pieces=3)
    assert cart.set_quantity("a", 9) == 9
    assert cart.set_quantity("a", 9) == 9
    assert cart.remove("b") is True
    assert cart.clear() == 1


def test_a_guarded_handle_keeps_its_limits(open_store: Any) -> None:
    conversation = open_store().conversation("conv_123", cart_limits=CartLimits(max_lines=1))
    conversation.session.login("user-7", ttl=60)
    guarded = conversation.if_logged_in.cart
    guarded.add("a")
    with pytest.raises(errors.CartLimit):
        guarded.add("b")


def test_a_limit_beside_a_corrupt_line_is_no_guess(limited_cart: Any, record: Record) -> None:
    cart = limited_cart(max_pieces=5)
    cart.add("a")
    cart.add("b")
    record.poke("cb", "many")
    assert refused(lambda: cart.add("a"), record, errors.CorruptState).key == record.key


@pytest.mark.parametrize("limit", [0, -1, 1.0, "1", True], ids=repr)
@pytest.mark.parametrize("name", ["max_lines", "max_quantity", "max_pieces"])
def test_a_limit_that_is_no_positive_int_is_refused(name: str, limit: Any) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        CartLimits(**{name: limit})
    assert caught.value.setting == name


def test_limits_of_another_class_are_refused(open_store: Any, store: Any) -> None:
    with pytest.raises(errors.ConfigurationError):
        open_store(cart_limits=Limits())
    with pytest.raises(errors.ConfigurationError):
        store.conversation("c", cart_limits={"max_lines": 1})


def test_limits_compare_by_what_they_limit() -> None:
    assert CartLimits(max_lines=1) == CartLimits(max_lines=1) != CartLimits()
    assert dataclasses.replace(CartLimits(max_lines=1), max_pieces=2) == CartLimits(max_lines=1, max_pieces=2)


# Attributes ----------------------------------------------------------------------------------------------------------


def test_a_line_carries_its_attributes_with_their_types(conversation: Any) -> None:
    attributes = {"size": "L", "gift": True, "weight": Decimal("1.50"), "due": date(2026, 5, 4), "tags": {"a", "b"}}
    assert conversation.cart.add("sku", 2, "19.99", attributes=attributes) == 2
    line = conversation.cart.lines()["sku"]
    assert (line.attributes, line.quantity, line.price) == (attributes, 2, Decimal("19.99"))
    assert len({line, CartLine("sku", 2, None, line.added_at)}) == 2


def test_a_line_without_attributes_has_none(conversation: Any, record: Record) -> None:
    conversation.cart.add("sku")
    assert conversation.cart.lines()["sku"].attributes == {}
    assert record.fields("l") == {}


def test_attributes_are_replaced_when_given_and_kept_when_not(conversation: Any) -> None:
    cart = conversation.cart
    cart.add("sku", attributes={"size": "L"})
    cart.add("sku")
    cart.set_quantity("sku", 4)
    assert cart.lines()["sku"].attributes == {"size": "L"}
    cart.add("sku", attributes={"colour": "red"})
    assert cart.lines()["sku"].attributes == {"colour": "red"}
    before = conversation.version()
    assert cart.set_attributes("sku", {"colour": "blue"}) == conversation.version() > before
    assert cart.lines()["sku"].attributes == {"colour": "blue"}
    cart.set_attributes("sku", {})
    assert cart.lines()["sku"].attributes == {}
    assert cart.count() == 5


def test_attributes_of_a_line_that_is_not_there_are_refused(conversation: Any, record: Record) -> None:
    error = refused(lambda: conversation.cart.set_attributes("sku", {"a": 1}), record, errors.WrongType)
    assert (error.key, error.field) == (conversation.key, "sku")


def test_removing_and_clearing_take_the_attributes_along(conversation: Any, record: Record) -> None:
    cart = conversation.cart
    for sku in ("a", "b", "c"):
        cart.add(sku, attributes={"size": "L"})
    assert cart.remove("a") is True
    assert set(record.fields("l")) == {b"lb", b"lc"}
    assert cart.clear() == 2
    assert record.fields("l") == record.fields("p") == {}
    cart.add("b")
    assert cart.lines()["b"].attributes == {}


@pytest.mark.parametrize("attributes", [[], "x", 7, {1: "a"}, {None: 1}, [("a", 1)]], ids=repr)
def test_attributes_that_are_no_mapping_of_names_are_refused(conversation: Any, attributes: Any) -> None:
    for change in (conversation.cart.add, conversation.cart.set_attributes):
        named = {"attributes": attributes}
        with pytest.raises(errors.UnsupportedValue) as caught:
            change("sku", **named)
        assert caught.value.path == "sku.attributes"
    assert not conversation.exists()


def test_attributes_have_the_limits_of_values(open_store: Any, record: Record) -> None:
    cart = open_store(limits=Limits(max_value_bytes=50)).conversation("conv_123").cart
    cart.add("sku")
    for change in (lambda given: cart.add("sku", attributes=given), lambda given: cart.set_attributes("sku", given)):
        error = refused(lambda change=change: change({"text": "x" * 60}), record, errors.TooLarge)
        assert (error.path, error.limit, error.unit) == ("sku.attributes", 50, "bytes")
        path = refused(lambda change=change: change({"a": {"b": object()}}), record, errors.UnsupportedValue).path
        assert path == "sku.attributes.a.b"


def test_large_attributes_are_weighed_with_the_conversation(open_store: Any, record: Record) -> None:
    conversation = open_store(limits=Limits(max_conversation_bytes=2_000)).conversation("conv_123")
    cart = conversation.cart
    cart.add("sku", attributes={"text": "x" * 1_500})
    for change in (
        lambda: cart.add("other", attributes={"text": "x" * 500}),
        lambda: cart.set_attributes("sku", {"text": "x" * 2_000}),
    ):
        error = refused(change, record, errors.TooLarge)
        assert (error.limit, error.unit) == (2_000, "bytes")
    cart.set_attributes("sku", {"text": "y" * 1_600})


@pytest.mark.parametrize("text", ["", "garbage", "[1]", '"x"', "7"])
def test_attributes_that_are_none_are_corrupt_and_stay(conversation: Any, record: Record, text: str) -> None:
    conversation.cart.add("sku", attributes={"a": 1})
    record.poke("lsku", text)
    assert refused(conversation.cart.lines, record, errors.CorruptState).field == "lsku"
    conversation.cart.set_attributes("sku", {"a": 2})
    assert conversation.cart.lines()["sku"].attributes == {"a": 2}


@pytest.mark.parametrize("verb", ["add", "set_attributes"])
def test_a_repeated_op_id_changes_attributes_once(conversation: Any, record: Record, verb: str) -> None:
    conversation.cart.add("sku")
    change = getattr(conversation.cart, verb)
    first = change("sku", attributes={"n": 1}, op_id="once")
    conversation.cart.set_attributes("sku", {"n": 2})
    image = record.image()
    assert change("sku", attributes={"n": 1}, op_id="once") == first
    assert record.image() == image


def test_a_change_of_attributes_takes_an_expected_version(conversation: Any, record: Record) -> None:
    conversation.cart.add("sku")
    version = conversation.version()
    error = refused(
        lambda: conversation.cart.set_attributes("sku", {"a": 1}, expected_version=version - 1),
        record,
        errors.ConflictError,
    )
    assert error.current_version == version
    conversation.cart.set_attributes("sku", {"a": 1}, expected_version=version)
