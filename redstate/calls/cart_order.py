"""Calls on orders: a cart that was checked out, frozen for good."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from redstate import _keys, _scripts
from redstate._call import Mutation, Read
from redstate._codec import Codec
from redstate.calls import cart_lines
from redstate.calls.cart_lines import CartLine
from redstate.calls.moments import moment
from redstate.calls.record import Snapshot, one_field
from redstate.errors import CartEmpty, CorruptState, OperationMismatch, RedstateError, TotalChanged

_CHECKOUT = _scripts.load("cart_checkout")

_VERSION = re.compile(rb"\d{16}")
_LENGTH = re.compile(rb"(\d{1,9}):")
_PARTS = 5
_FROZEN = ""  # the name, among the orders, of the field with the id of the order that the cart became


@dataclass(frozen=True, slots=True)
class Order:
    """A cart as it was when it was checked out; it never changes.

    Attributes:
        order_id: as given to ``checkout``.
        lines: by sku, in the order in which they were added.
        placed_at: when it was checked out, server time.
    """

    order_id: str
    lines: dict[str, CartLine] = field(hash=False)
    placed_at: datetime

    @property
    def total(self) -> Decimal:
        """The exact sum of quantity times price; lines without a price count as 0."""
        return cart_lines.total(self.lines)

    @property
    def count(self) -> int:
        """How many pieces were ordered."""
        return sum(line.quantity for line in self.lines.values())


def checkout(key: str, order_id: str) -> Mutation[None]:
    """Freeze the cart as an order, once. The order itself is read afterwards: it never changes."""
    placed = _keys.placed_field(order_id)
    return Mutation(_CHECKOUT, key, (placed,), lambda answer: None, placed)


def order(codec: Codec, key: str, order_id: str) -> Read[Order | None]:
    """An order; None where there is none of that id."""
    placed = _keys.placed_field(order_id)

    def found(text: bytes | None) -> Order | None:
        return None if text is None else _order(codec, key, order_id, text)

    return one_field(key, placed, found)


def lines(codec: Codec, key: str, snapshot: Snapshot) -> dict[str, CartLine]:
    """The lines of the cart by sku, in the order in which they were added; a frozen cart has those of its order.

    Raises:
        CorruptState: redstate does not write such a line, or such an order.
    """
    order_id = snapshot.orders.get(_FROZEN)
    if order_id is None:
        return cart_lines.lines(codec, key, snapshot)
    for name, text in _placed(snapshot).items():
        if name.encode() == order_id:
            return _order(codec, key, name, text).lines
    raise _corrupt(key, _keys.PLACED)


def orders(key: str, snapshot: Snapshot) -> dict[str, datetime]:
    """When each order of a snapshot was placed, the oldest first."""
    times = {order_id: _placed_at(key, order_id, text) for order_id, text in _placed(snapshot).items()}
    return dict(sorted(times.items(), key=lambda item: (item[1], item[0])))


def amount(total: Decimal | int | str | float) -> Decimal:
    """A sum of money, exactly.

    Raises:
        InvalidPrice: it is no finite, non-negative number of at most 28 digits.
    """
    return Decimal(cart_lines.price_text(total))


def version_at_total(codec: Codec, key: str, snapshot: Snapshot, order_id: str, expected: Decimal) -> int:
    """The version of a snapshot in which a cart that can be checked out has that sum.

    Where it cannot be, the version is returned all the same: the script refuses then, and knows why.

    Raises:
        TotalChanged: the sum is another.
    """
    if _FROZEN not in snapshot.orders and order_id not in snapshot.orders and snapshot.quantities:
        check_total(key, cart_lines.total(cart_lines.lines(codec, key, snapshot)), expected)
    return snapshot.version


def check_total(key: str, current: Decimal, expected: Decimal) -> None:
    """Refuse a sum that is not the expected one.

    Raises:
        TotalChanged: it is another.
    """
    if current != expected:
        raise TotalChanged(
            f"The cart of {key} does not have the expected total",
            key=key,
            expected_total=expected,
            current_total=current,
        )


def no_order(key: str, op_id: str | None) -> RedstateError:
    """Why a checkout that was accepted left no order to read."""
    if op_id is None:
        return CartEmpty(f"{key} was deleted as it was checked out", key=key)
    return OperationMismatch(
        "The op_id was used before for another order, or the conversation was deleted since", key=key, op_id=op_id
    )


def rewritten(key: str, placed: str, text: bytes, rewrite: Callable[[str, bytes], bytes]) -> bytes:
    """An order, of the field ``placed``, with other bytes for the attributes of each line.

    Args:
        rewrite: takes a sku and its attributes, as they are stored.

    Raises:
        CorruptState: redstate does not write such an order.
    """
    parts = list(_netstrings(key, placed, text, 16))
    for at in range(_PARTS - 1, len(parts), _PARTS):
        if parts[at]:
            parts[at] = rewrite(parts[at - _PARTS + 1].decode("utf-8", "replace"), parts[at])
    return text[:16] + b"".join(b"%d:%b" % (len(part), part) for part in parts)


def _placed(snapshot: Snapshot) -> dict[str, bytes]:
    """The orders of a snapshot."""
    return {order_id: text for order_id, text in snapshot.orders.items() if order_id != _FROZEN}


def _order(codec: Codec, key: str, order_id: str, text: bytes) -> Order:
    placed = _keys.PLACED + order_id
    placed_at = _placed_at(key, order_id, text)
    found = [cart_lines.line(codec, key, sku, parts, placed) for sku, parts in ordered(key, order_id, text)]
    lines = cart_lines.in_order(found)
    if len(lines) != len(found):
        raise _corrupt(key, placed)
    return Order(order_id, lines, placed_at)


def ordered(key: str, order_id: str, text: bytes) -> Iterator[tuple[str, cart_lines.Parts]]:
    """Each line of an order as it is stored: sku, and its parts, still encoded.

    Raises:
        CorruptState: it is no order.
    """
    placed = _keys.PLACED + order_id
    parts = list(_netstrings(key, placed, text, 16))
    if not parts or len(parts) % _PARTS:
        raise _corrupt(key, placed)
    for at in range(0, len(parts), _PARTS):
        sku, quantity, price, added, attributes = parts[at : at + _PARTS]
        try:
            name = sku.decode("utf-8")
        except UnicodeDecodeError:
            raise _corrupt(key, placed) from None
        yield name, (quantity, price or None, added, attributes or None)


def _netstrings(key: str, placed: str, text: bytes, at: int) -> Iterator[bytes]:
    """Each part of a text, which are led by their lengths."""
    while at < len(text):
        length = _LENGTH.match(text, at)
        if length is None or length.end() + int(length[1]) > len(text):
            raise _corrupt(key, placed)
        at = length.end() + int(length[1])
        yield text[length.end() : at]


def _placed_at(key: str, order_id: str, text: bytes) -> datetime:
    if _VERSION.match(text) is None:
        raise _corrupt(key, _keys.PLACED + order_id)
    return moment(int(text[:16]))


def _corrupt(key: str, placed: str) -> CorruptState:
    return CorruptState(f"Field {placed!r} of {key} is no order", key=key, field=placed)
