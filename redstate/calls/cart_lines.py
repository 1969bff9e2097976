"""Lines of a cart, as they are read. Prices are exact decimals; a float never touches money."""

from __future__ import annotations

import decimal
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from redstate import _keys
from redstate._codec import Codec
from redstate.calls.moments import moment
from redstate.calls.record import Snapshot
from redstate.errors import CorruptState, InvalidPrice, UnsupportedValue

_MAX_DIGITS = 28
_LONGEST_PRICE = 64
_WRITTEN = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|[+-]?\.[0-9]+")
_QUANTITY, _PRICE, _VERSION = re.compile(rb"[1-9]\d{0,9}"), re.compile(rb"\d+(?:\.\d+)?"), re.compile(rb"\d{16}")
# Sums stay exact: 28 digits of price, 10 of quantity, 4 of lines, with room to spare; anything inexact would raise.
_EXACT = decimal.Context(prec=100, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])


@dataclass(frozen=True, slots=True)
class CartLine:
    """One line of a cart or of an order.

    Attributes:
        sku: what is bought.
        quantity: how many.
        price: of one piece, exactly as given; None where no price was given.
        added_at: when the line was created, server time.
        attributes: what else was said of the line, such as a size; empty where nothing was.
    """

    sku: str
    quantity: int
    price: Decimal | None
    added_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def total(self) -> Decimal:
        """quantity times price, exact; 0 without a price."""
        return Decimal(0) if self.price is None else _EXACT.multiply(self.price, Decimal(self.quantity))


def lines(codec: Codec, key: str, snapshot: Snapshot) -> dict[str, CartLine]:
    """The lines of a snapshot whose cart is not frozen, by sku, in the order in which they were added."""
    return in_order(
        line(
            codec,
            key,
            sku,
            (quantity, snapshot.prices.get(sku), snapshot.added.get(sku), snapshot.attributes.get(sku)),
        )
        for sku, quantity in snapshot.quantities.items()
    )


def in_order(found: Iterable[CartLine]) -> dict[str, CartLine]:
    """Lines by sku, in the order in which they were added."""
    return {line.sku: line for line in sorted(found, key=lambda line: (line.added_at, line.sku))}


def total(lines: Mapping[str, CartLine]) -> Decimal:
    """The exact sum of all lines."""
    result = Decimal(0)
    for line in lines.values():
        result = _EXACT.add(result, line.total)
    return result


Parts = tuple[bytes, bytes | None, bytes | None, bytes | None]


def line(codec: Codec, key: str, sku: str, parts: Parts, place: str | None = None) -> CartLine:
    """A line of its parts: quantity, price, version when added, attributes.

    Args:
        place: the field that all of them lie in, for errors; by default each has one of its own.

    Raises:
        CorruptState: redstate does not write such a part.
    """
    quantity, price, added, attributes = parts
    pieces = int(_text(key, place or _keys.QUANTITY + sku, _QUANTITY, quantity))
    paid = None if price is None else Decimal(_text(key, place or _keys.PRICE + sku, _PRICE, price))
    time = moment(int(_text(key, place or _keys.ADDED + sku, _VERSION, added)))
    extra: Any = {}
    if attributes is not None:
        held_in = place or _keys.ATTRIBUTES + sku
        # An order holds the very bytes that the line had.
        extra = codec.decode(attributes, key=key, field=held_in, bound=_keys.ATTRIBUTES + sku)
        if type(extra) is not dict:
            raise CorruptState(f"Field {held_in!r} of {key} holds no attributes", key=key, field=held_in)
    return CartLine(sku, pieces, paid, time, extra)


def encoded_attributes(codec: Codec, sku: str, attributes: Mapping[str, Any]) -> bytes:
    """Attributes as bytes.

    Raises:
        UnsupportedValue: they are no mapping of names to values that can be stored.
        TooLarge: they exceed a cap on values.
    """
    path = f"{sku}.attributes"
    if not isinstance(attributes, Mapping) or not all(type(name) is str for name in attributes):
        raise UnsupportedValue(
            f"The attributes of {sku!r} are no mapping of names to values",
            next_step="Pass a dict whose keys are str",
            path=path,
            value_type=type(attributes).__name__,
        )
    return codec.encode(dict(attributes), path, field=_keys.ATTRIBUTES + sku)


def price_text(price: Decimal | int | str | float) -> str:
    """A price, or another sum of money, as the text that is stored.

    Raises:
        InvalidPrice: it is no finite, non-negative number of at most 28 digits.
    """
    if type(price) is str and len(price) <= _LONGEST_PRICE:
        return _written_price(price)
    return _price_text(price)


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


def _text(key: str, field: str, pattern: re.Pattern[bytes], found: bytes | None) -> str:
    """The text of one part of a line, if it is of that form."""
    if found is None or pattern.fullmatch(found) is None:
        raise CorruptState(f"Field {field!r} of {key} is no part of a cart line", key=key, field=field)
    return found.decode("ascii")
