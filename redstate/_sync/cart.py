# Generated from redstate/_async/cart.py by tools/generate_sync.py. Do not edit: edit that file.
"""The cart of a conversation: lines by sku, exact money, each change one atomic script."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from redstate._call import Mutation
from redstate._sync.record import Record
from redstate.calls import cart as cart_calls
from redstate.calls import cart_lines, cart_order
from redstate.calls.cart_limits import CartLimits
from redstate.calls.cart_lines import CartLine
from redstate.calls.cart_order import Order
from redstate.errors import ConflictError

# A checkout at an expected total is tried anew where another change came between reading and freezing.
_MOST_ATTEMPTS = 32


class Cart:
    """Lines of a conversation's cart. Obtained as ``conversation.cart``.

    ``op_id`` and ``expected_version`` mean what they mean in the state. While the cart is frozen by ``checkout``, every
    change of it is refused with ``CartFrozen``.
    """

    __slots__ = ("_limits", "_record")

    def __init__(self, record: Record, limits: CartLimits) -> None:
        self._record = record
        self._limits = limits.words

    def add(
        self,
        sku: str,
        quantity: int = 1,
        price: Decimal | int | str | float | None = None,
        *,
        attributes: Mapping[str, Any] | None = None,
        op_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Add to the line of ``sku``, creating it. Returns the line's new quantity.

        Args:
            sku: what is bought.
            quantity: how many more, from 1.
            price: of one piece; it replaces the line's price. A float stands for the decimal that it prints as.
            attributes: what else is to be said of the line, such as ``{"size": "L"}``; they replace the line's.

        Raises:
            InvalidQuantity, InvalidPrice, InvalidField, UnsupportedValue: refused before anything was sent.
            TooLarge: the line would exceed 1,000,000,000 pieces, or the conversation a cap on fields or bytes.
            CartLimit: the cart would exceed one of its :class:`redstate.CartLimits`.
            CartFrozen: the cart was checked out.
        """
        record = self._record
        options: tuple[str | bytes, ...] = self._limits
        if attributes is not None:
            options += cart_calls.attribute_options(record.codec, sku, attributes)
        call = cart_calls.add(record.codec.limits, record.key, sku, quantity, price, options)
        return record.apply(call, op_id, expected_version)

    def set_quantity(
        self, sku: str, quantity: int, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Set the quantity of a line that is there. Returns it.

        Raises:
            WrongType: there is no such line.
            CartLimit: the cart would exceed one of its :class:`redstate.CartLimits`.
            CartFrozen: the cart was checked out.
        """
        record = self._record
        call = cart_calls.set_quantity(record.key, sku, quantity, self._limits)
        return record.apply(call, op_id, expected_version)

    def set_attributes(
        self,
        sku: str,
        attributes: Mapping[str, Any],
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Replace the attributes of a line that is there. Returns the conversation's new version.

        Args:
            sku: which line.
            attributes: values by name, of any type that state can hold.

        Raises:
            UnsupportedValue: they cannot be stored.
            TooLarge: they exceed a cap on values, or the conversation's on bytes.
            WrongType: there is no such line.
            CartFrozen: the cart was checked out.
        """
        record = self._record
        call = cart_calls.set_attributes(record.codec, record.key, sku, attributes)
        return record.apply(call, op_id, expected_version)

    def remove(self, sku: str, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Take a line out. Returns whether it was there.

        Raises:
            CartFrozen: the cart was checked out.
        """
        record = self._record
        return record.apply(cart_calls.remove(record.key, sku), op_id, expected_version)

    def clear(self, *, op_id: str | None = None, expected_version: int | None = None) -> int:
        """Take every line out. Returns how many there were.

        Raises:
            CartFrozen: the cart was checked out.
        """
        record = self._record
        return record.apply(cart_calls.clear(record.key), op_id, expected_version)

    def lines(self, *, fresh: bool = False, min_version: int | None = None) -> dict[str, CartLine]:
        """The lines by sku, in the order in which they were added, of one version. A frozen cart has its order's.

        Args:
            fresh, min_version: as for ``state.get``: local memory may answer by default.

        Raises:
            CorruptState: a line holds bytes that redstate did not write.
        """
        record = self._record
        snapshot = record.snapshot(fresh=fresh, min_version=min_version)
        return cart_order.lines(record.codec, record.key, snapshot)

    def total(self, *, fresh: bool = True) -> Decimal:
        """The exact sum of quantity times price; lines without a price count as 0.

        Args:
            fresh: money is read from the server, unless this is False.
        """
        return cart_lines.total(self.lines(fresh=fresh))

    def count(self, *, fresh: bool = False) -> int:
        """How many pieces are in the cart.

        Args:
            fresh: as for ``lines``.
        """
        return sum(line.quantity for line in (self.lines(fresh=fresh)).values())

    def checkout(
        self,
        order_id: str,
        *,
        expected_total: Decimal | int | str | float | None = None,
        op_id: str | None = None,
        expected_version: int | None = None,
    ) -> Order:
        """Freeze the cart as an order, exactly once. Returns the order.

        Repeated with the same ``order_id``, from any process and at any later time while the conversation lives, it
        changes nothing and returns the same order, also after ``start_over``, until the new cart has lines of its own.

        Args:
            order_id: the caller's id of the order; any text of 1 to 256 UTF-8 bytes.
            expected_total: the sum that the customer was told; with another one nothing is frozen.

        Raises:
            CartEmpty: there is nothing to check out.
            CartFrozen: the cart was checked out under another id, which is its ``order_id``.
            OrderExists: the order was placed before, and the cart, which was begun anew, holds other lines.
            TotalChanged: the sum is not the expected one.
            CorruptState: the cart, or the order that stands, holds bytes that redstate did not write.
        """
        record = self._record
        call = cart_order.checkout(record.key, order_id)
        if expected_total is None:
            record.apply(call, op_id, expected_version)
        else:
            expected_total = cart_order.amount(expected_total)
            self._checkout_at(expected_total, order_id, call, op_id, expected_version)
        order = self.order(order_id)
        if order is None:
            raise cart_order.no_order(record.key, op_id)
        if expected_total is not None:
            # The order may be another's, who came first.
            cart_order.check_total(record.key, order.total, expected_total)
        return order

    def _checkout_at(
        self, total: Decimal, order_id: str, call: Mutation[None], op_id: str | None, expected_version: int | None
    ) -> None:
        """Check out only while the sum is ``total``; the version at which it was read ties the two together."""
        record = self._record
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            snapshot = record.snapshot(fresh=True)
            version = cart_order.version_at_total(record.codec, record.key, snapshot, order_id, total)
            try:
                record.apply(call, op_id, version if expected_version is None else expected_version)
                return
            except ConflictError:
                if expected_version is not None or attempt == _MOST_ATTEMPTS:
                    raise

    def order(self, order_id: str, *, fresh: bool = True) -> Order | None:
        """An order of this conversation; None where there is none of that id.

        Args:
            order_id: which.
            fresh: money is read from the server, unless this is False.

        Raises:
            CorruptState: it holds bytes that redstate did not write.
        """
        record = self._record
        return record.read(cart_order.order(record.codec, record.key, order_id), fresh=fresh)

    def orders(self, *, fresh: bool = False) -> dict[str, datetime]:
        """When each order was placed, by id, the oldest first; server time.

        Args:
            fresh: as for ``lines``.
        """
        record = self._record
        return cart_order.orders(record.key, record.snapshot(fresh=fresh))

    def start_over(self, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Begin a new, empty cart after a checkout. Returns whether the cart was frozen.

        The order stays. A cart that is not frozen stays as it is, so a repeat does not empty the new one.
        """
        record = self._record
        return record.apply(cart_calls.start_over(record.key), op_id, expected_version)
