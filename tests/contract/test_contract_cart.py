"""What a conversation's cart promises: lines by sku, exact money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from redstate import CartLine, errors


def test_adding_creates_a_line_and_returns_its_quantity(conversation: Any) -> None:
    assert conversation.cart.add("sku-1", quantity=2, price="19.99") == 2
    line = conversation.cart.lines()["sku-1"]
    assert (line.sku, line.quantity, line.price, line.total) == ("sku-1", 2, Decimal("19.99"), Decimal("39.98"))
    assert type(line) is CartLine
    assert abs(datetime.now(UTC) - line.added_at) < timedelta(minutes=1)


def test_the_same_sku_merges_into_one_line(conversation: Any) -> None:
    conversation.cart.add("sku", 2, "5.00")
    added_at = conversation.cart.lines()["sku"].added_at
    assert conversation.cart.add("sku", 3) == 5
    line = conversation.cart.lines()["sku"]
    assert (line.quantity, line.price, line.added_at) == (5, Decimal("5.00"), added_at)


def test_a_price_given_later_replaces_the_price(conversation: Any) -> None:
    conversation.cart.add("sku", 1)
    assert conversation.cart.lines()["sku"].price is None
    conversation.cart.add("sku", 1, "4.00")
    conversation.cart.add("sku", 1, "3.50")
    assert conversation.cart.lines()["sku"].price == Decimal("3.50")
    assert conversation.cart.total() == Decimal("10.50")


@pytest.mark.parametrize(
    ("price", "stored"),
    [
        (19.99, "19.99"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (3, "3"),
        ("0.00", "0.00"),
        ("-0", "0"),
        (-0.0, "0.0"),
        ("1E+3", "1000"),
        (Decimal("2.50"), "2.50"),
        ("9" * 28, "9" * 28),
        ("0." + "0" * 27 + "1", "0." + "0" * 27 + "1"),
    ],
)
def test_a_price_is_kept_to_the_digit(conversation: Any, price: Any, stored: str) -> None:
    conversation.cart.add("sku", 1, price)
    assert str(conversation.cart.lines()["sku"].price) in {stored, str(Decimal(stored))}


def test_the_total_is_exact_where_floats_are_not(conversation: Any) -> None:
    for number in range(30):
        conversation.cart.add(f"dime-{number}", 1, 0.1)
    assert conversation.cart.total() == Decimal("3.0")


def test_the_total_is_exact_for_the_largest_quantities_and_prices(conversation: Any) -> None:
    high, low = "9" * 28, "0." + "0" * 27 + "1"
    conversation.cart.add("high", 1_000_000_000, high)
    conversation.cart.add("low", 999_999_999, low)
    in_smallest_units = int(high) * 10**9 * 10**28 + 999_999_999
    total = conversation.cart.total()
    sign, digits, exponent = total.as_tuple()
    assert int("".join(map(str, digits))) * 10 ** (exponent + 28) == in_smallest_units
    assert sign == 0


def test_lines_without_a_price_count_as_pieces_but_not_as_money(conversation: Any) -> None:
    conversation.cart.add("free", 3)
    conversation.cart.add("paid", 2, 4)
    assert (conversation.cart.count(), conversation.cart.total()) == (5, Decimal(8))


def test_an_empty_cart(conversation: Any) -> None:
    cart = conversation.cart
    assert (cart.lines(), cart.total(), cart.count(), cart.clear(), cart.remove("x")) == ({}, Decimal(0), 0, 0, False)


def test_lines_come_in_the_order_in_which_they_were_added(conversation: Any) -> None:
    skus = ["z", "a", "m", "é", "B"]
    for sku in skus:
        conversation.cart.add(sku)
    conversation.cart.add("z")
    assert list(conversation.cart.lines()) == skus


def test_set_quantity_replaces_it_and_keeps_the_price(conversation: Any) -> None:
    conversation.cart.add("sku", 9, "1.25")
    assert conversation.cart.set_quantity("sku", 2) == 2
    assert conversation.cart.total() == Decimal("2.50")


def test_set_quantity_of_an_absent_line_is_refused(conversation: Any) -> None:
    with pytest.raises(errors.WrongType) as caught:
        conversation.cart.set_quantity("sku", 2)
    assert (caught.value.key, caught.value.field) == (conversation.key, "sku")
    assert conversation.cart.lines() == {}


def test_remove_takes_one_line_and_says_whether_it_was_there(conversation: Any) -> None:
    conversation.cart.add("a")
    conversation.cart.add("b")
    assert conversation.cart.remove("a") is True
    assert conversation.cart.remove("a") is False
    assert list(conversation.cart.lines()) == ["b"]


def test_clear_takes_every_line_and_leaves_the_state(conversation: Any) -> None:
    conversation.state.set("step", "shopping")
    conversation.cart.add("a")
    conversation.cart.add("b")
    assert conversation.cart.clear() == 2
    assert conversation.cart.lines() == {}
    assert conversation.state.all() == {"step": "shopping"}


@pytest.mark.parametrize("quantity", [0, -1, 1_000_000_001, 1.0, "1", True, None], ids=repr)
def test_a_quantity_that_cannot_be_is_refused(conversation: Any, quantity: Any) -> None:
    with pytest.raises(errors.InvalidQuantity):
        conversation.cart.add("sku", quantity)
    with pytest.raises(errors.InvalidQuantity):
        conversation.cart.set_quantity("sku", quantity)
    assert not conversation.exists()


def test_a_line_cannot_grow_past_the_largest_quantity(conversation: Any) -> None:
    assert conversation.cart.add("sku", 999_999_999) == 999_999_999
    assert conversation.cart.add("sku", 1) == 1_000_000_000
    with pytest.raises(errors.TooLarge) as caught:
        conversation.cart.add("sku", 1)
    assert (caught.value.limit, caught.value.unit) == (1_000_000_000, "items")
    assert conversation.cart.count() == 1_000_000_000


@pytest.mark.parametrize(
    "price",
    [
        "",
        "abc",
        " 7.5 ",
        "1_000",
        "\uff11",
        "0" * 65,
        "1,50",
        "nan",
        "inf",
        float("nan"),
        float("-inf"),
        -1,
        "-0.01",
        True,
        [1],
        b"1",
        "9" * 29,
        "1e-29",
        "1e29",
        "0x10",
        "1 2",
        "1\r\n2",
    ],
    ids=repr,
)
def test_a_price_that_is_no_amount_is_refused(conversation: Any, price: Any) -> None:
    with pytest.raises(errors.InvalidPrice):
        conversation.cart.add("sku", 1, price)
    assert not conversation.exists()


@pytest.mark.parametrize("sku", ["", None, 7, "x" * 257, "\ud800"], ids=repr)
def test_a_sku_that_cannot_be_a_name_is_refused(conversation: Any, sku: Any) -> None:
    cart = conversation.cart
    for change in (lambda: cart.add(sku), lambda: cart.set_quantity(sku, 1), lambda: cart.remove(sku)):
        with pytest.raises(errors.InvalidField):
            change()


def test_a_sku_may_hold_anything_that_is_text(conversation: Any) -> None:
    skus = ["a b", "{x}", "\r\n", "\0", "é" * 128, "-", "1 2 3"]
    for sku in skus:
        conversation.cart.add(sku, 1, "1")
    assert list(conversation.cart.lines()) == skus
