"""Calls on the cart. Quantities are whole numbers, prices exact decimals; a float never touches money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from redstate import _keys, _scripts
from redstate._call import Mutation, Word, result_of, version_of
from redstate._codec import Codec, Limits
from redstate.calls import effects
from redstate.calls.cart_limits import MAX_QUANTITY
from redstate.calls.cart_lines import encoded_attributes, price_text
from redstate.errors import InvalidPrice, InvalidQuantity

_ADD = _scripts.load("cart_add")
_SET_QUANTITY = _scripts.load("cart_set_quantity")
_SET_ATTRIBUTES = _scripts.load("cart_set_attributes")
_REMOVE = _scripts.load("cart_remove")
_CLEAR = _scripts.load("cart_clear")
_START_OVER = _scripts.load("cart_start_over")


def add(
    limits: Limits,
    key: str,
    sku: str,
    quantity: int,
    price: Decimal | int | str | float | None,
    options: tuple[Word, ...] = (),
) -> Mutation[int]:
    """Add to the line of a sku. Returns its new quantity.

    Args:
        options: names and values: the words of CartLimits, and those of :func:`attribute_options`.
    """
    quantity_field, price_field, added_field = _keys.line_fields(sku)
    try:
        text = "-" if price is None else price_text(price)
    except InvalidPrice as error:
        raise InvalidPrice(f"{error.message} (sku {sku!r})", sku=sku) from None
    cap = limits.max_fields
    args: tuple[Word, ...] = (quantity_field, _quantity(sku, quantity), price_field, text, added_field, str(cap))
    if options:
        args += options
    return Mutation(_ADD, key, args, result_of, quantity_field, cap, effects.cart_add)


def attribute_options(codec: Codec, sku: str, attributes: Mapping[str, Any]) -> tuple[Word, ...]:
    """The options of an add that replaces the line's attributes."""
    encoded = encoded_attributes(codec, sku, attributes)
    return "attributes", encoded, "max_record_bytes", str(codec.limits.max_conversation_bytes)


def set_quantity(key: str, sku: str, quantity: int, options: tuple[Word, ...] = ()) -> Mutation[int]:
    """Set the quantity of a line that exists. Returns it."""
    field = _keys.line_fields(sku)[0]
    args = (field, _quantity(sku, quantity), *options)
    return Mutation(_SET_QUANTITY, key, args, result_of, field, effect=effects.cart_set_quantity)


def set_attributes(codec: Codec, key: str, sku: str, attributes: Mapping[str, Any]) -> Mutation[int]:
    """Replace the attributes of a line that exists. Returns the new version."""
    field = _keys.line_fields(sku)[0]
    encoded = encoded_attributes(codec, sku, attributes)
    args = (field, str(codec.limits.max_conversation_bytes), _keys.attributes_field(sku), encoded)
    return Mutation(_SET_ATTRIBUTES, key, args, version_of, field)


def remove(key: str, sku: str) -> Mutation[bool]:
    """Take a line out. Returns whether it was there."""
    fields = (*_keys.line_fields(sku), _keys.attributes_field(sku))
    return Mutation(_REMOVE, key, fields, lambda answer: result_of(answer) > 0, fields[0], effect=effects.cart_remove)


def clear(key: str) -> Mutation[int]:
    """Take every line out. Returns how many there were."""
    return Mutation(_CLEAR, key, (), result_of)


def start_over(key: str) -> Mutation[bool]:
    """Put a frozen cart away. Returns whether there was one."""
    return Mutation(_START_OVER, key, (), lambda answer: result_of(answer) == 1)


def _quantity(sku: str, quantity: int) -> str:
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        what = "out of range" if type(quantity) is int else f"a {type(quantity).__name__}"
        raise InvalidQuantity(f"The quantity of {sku!r} is {what}", sku=sku)
    return str(quantity)
