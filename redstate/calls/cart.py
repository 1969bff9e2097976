"""Calls on the cart. Quantities are whole numbers, prices exact decimals; a float never touches money."""

from __future__ import annotations

import decimal
import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from redstate import _keys, _scripts
from redstate._call import Mutation, result_of
from redstate._codec import Limits
from redstate.calls.record import Snapshot
from redstate.errors import CorruptState, InvalidPrice, InvalidQuantity

_ADD = _scripts.load("cart_add")
_SET_QUANTITY = _scripts.load("cart_set_quantity")
_REMOVE = _scripts.load("fields_delete")
_CLEAR = _scripts.load("cart_clear")

MAX_QUANTITY = 1_000_000_000
_MAX_DIGITS = 28
_LONGEST_PRICE = 64
_WRITTEN = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|[+-]?\.[0-9]+")
_QUANTITY, _PRICE, _VERSION = re.compile(rb"[1-9]\d{0,9}"), re.compile(rb"\d+(?:\.\d+)?"), re.compile(rb"\d{16}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Sums stay exact: 28 digits of price, 10 of quantity, 3 of lines, with room to spare; anything inexact would raise.
_EXACT = decimal.Context(prec=100, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])


@dataclass(frozen=True, slots=True)
class CartLine:
    """One line of a cart.

    Attributes:
        sku: what is bought.
        quantity: how many.
        price: of one piece, exactly as given; None where no price was given.
        added_at: when the line was created, server time.
    """

    sku: str
    quantity: int
    price: Decimal | None
    added_at: datetime

    @property
    def total(self) -> Decimal:
        """quantity times price, exact; 0 without a price."""
        return Decimal(0) if self.price is None else _EXACT.multiply(self.price, Decimal(self.quantity))


def add(limits: Limits, key: str, sku: str, quantity: int, price: Decimal | int | str | float | None) -> Mutation[int]:
    """Add to the line of a sku. Returns its new quantity."""
    quantity_field, price_field, added_field = _keys.line_fields(sku)
    try:
        if price is None:
            text = "-"
        elif type(price) is str and len(price) <= _LONGEST_PRICE:
            text = _written_price(price)
        else:
            text = _price_text(price)
    except InvalidPrice as error:
        raise InvalidPrice(f"{error.message} (sku {sku!r})", sku=sku) from None
    cap = limits.max_fields
    args = (quantity_field, _quantity(sku, quantity), price_field, text, added_field, str(cap))
    return Mutation(_ADD, key, args, result_of, quantity_field, cap)


def set_quantity(key: str, sku: str, quantity: int) -> Mutation[int]:
    """Set the quantity of a line that exists. Returns it."""
    field = _keys.line_fields(sku)[0]
    return Mutation(_SET_QUANTITY, key, (field, _quantity(sku, quantity)), result_of, field)


def remove(key: str, sku: str) -> Mutation[bool]:
    """Take a line out. Returns whether it was there."""
    fields = _keys.line_fields(sku)
    return Mutation(_REMOVE, key, fields, lambda answer: result_of(answer) > 0, fields[0])


def clear(key: str) -> Mutation[int]:
    """Take every line out. Returns how many there were."""
    return Mutation(_CLEAR, key, (), result_of)


def lines(key: str, snapshot: Snapshot) -> dict[str, CartLine]:
    """The lines of a snapshot by sku, in the order in which they were added."""
    found = [_line(key, sku, quantity, snapshot) for sku, quantity in snapshot.quantities.items()]
    found.sort(key=lambda line: (line.added_at, line.sku))
    return {line.sku: line for line in found}


def total(lines: dict[str, CartLine]) -> Decimal:
    """The exact sum of all lines."""
    result = Decimal(0)
    for line in lines.values():
        result = _EXACT.add(result, line.total)
    return result


def _quantity(sku: str, quantity: int) -> str:
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        what = "out of range" if type(quantity) is int else f"a {type(quantity).__name__}"
        raise InvalidQuantity(f"The quantity of {sku!r} is {what}", sku=sku)
    return str(quantity)


def _price_text(price: Decimal | int | str | float) -> str:
    if isinstance(price, bool) or not isinstance(price, (Decimal, int, str, float)):
        raise InvalidPrice(f"A price cannot be a {type(price).__name__}")
    if isinstance(price, str) and (len(price) > _LONGEST_PRICE or not _WRITTEN.fullmatch(price)):
        raise InvalidPrice("The price is no number")
    try:
        # A float stands for the decimal that it prints as: 19.99 means 19.99, not its binary neighbour.
        exact = Decimal(str(price) if isinstance(price, float) else price)
    except (decimal.InvalidOperation, ValueError):
        raise InvalidPrice("The price is no number") from None
    if not exact.is_finite():
        raise InvalidPrice("The price is not finite")
    if exact.is_signed() and exact != 0:
        raise InvalidPrice("The price is negative")
    _, digits, exponent = exact.as_tuple()
    if not isinstance(exponent, int) or not -_MAX_DIGITS <= exponent <= _MAX_DIGITS or len(digits) > _MAX_DIGITS:
        raise InvalidPrice(f"The price has more than {_MAX_DIGITS} digits")
    return format(abs(exact), "f")


# A shop has few prices and many adds; checking one costs more than the rest of the call. Only text is kept: equal
# decimals of different scale ("1.0", "1.00") would share an entry.
_written_price = functools.lru_cache(maxsize=4096)(_price_text)


def _line(key: str, sku: str, quantity: bytes, snapshot: Snapshot) -> CartLine:
    pieces = int(_text(key, _keys.QUANTITY + sku, _QUANTITY, quantity))
    price = snapshot.prices.get(sku)
    added = _text(key, _keys.ADDED + sku, _VERSION, snapshot.added.get(sku))
    return CartLine(
        sku=sku,
        quantity=pieces,
        price=None if price is None else Decimal(_text(key, _keys.PRICE + sku, _PRICE, price)),
        added_at=_EPOCH + timedelta(microseconds=int(added)),
    )


def _text(key: str, field: str, pattern: re.Pattern[bytes], found: bytes | None) -> str:
    """The text of one field of a line, if it is of that form."""
    if found is None or pattern.fullmatch(found) is None:
        raise CorruptState(f"Field {field!r} of {key} is no part of a cart line", key=key, field=field)
    return found.decode("ascii")
