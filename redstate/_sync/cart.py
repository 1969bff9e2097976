# Generated from redstate/_async/cart.py by tools/generate_sync.py. Do not edit: edit that file.
"""The cart of a conversation: lines by sku, exact money, each change one atomic script."""

from __future__ import annotations

from decimal import Decimal

from redstate._sync.record import Record
from redstate.calls import cart as cart_calls
from redstate.calls.cart import CartLine


class Cart:
    """Lines of a conversation's cart. Obtained as ``conversation.cart``.

    ``op_id`` and ``expected_version`` mean what they mean in the state.
    """

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        self._record = record

    def add(
        self,
        sku: str,
        quantity: int = 1,
        price: Decimal | int | str | float | None = None,
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Add to the line of ``sku``, creating it. Returns the line's new quantity.

        Args:
            sku: what is bought.
            quantity: how many more, from 1.
            price: of one piece; it replaces the line's price. A float stands for the decimal that it prints as.

        Raises:
            InvalidQuantity, InvalidPrice, InvalidField: refused before anything was sent.
            TooLarge: the line would exceed 1,000,000,000 pieces, or the conversation its cap of fields.
        """
        record = self._record
        call = cart_calls.add(record.codec.limits, record.key, sku, quantity, price)
        return record.apply(call, op_id, expected_version)

    def set_quantity(
        self, sku: str, quantity: int, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Set the quantity of a line that is there. Returns it.

        Raises:
            WrongType: there is no such line.
        """
        record = self._record
        return record.apply(cart_calls.set_quantity(record.key, sku, quantity), op_id, expected_version)

    def remove(self, sku: str, *, op_id: str | None = None, expected_version: int | None = None) -> bool:
        """Take a line out. Returns whether it was there."""
        record = self._record
        return record.apply(cart_calls.remove(record.key, sku), op_id, expected_version)

    def clear(self, *, op_id: str | None = None, expected_version: int | None = None) -> int:
        """Take every line out. Returns how many there were."""
        record = self._record
        return record.apply(cart_calls.clear(record.key), op_id, expected_version)

    def lines(self) -> dict[str, CartLine]:
        """The lines by sku, in the order in which they were added, read at one version.

        Raises:
            CorruptState: a line holds bytes that redstate did not write.
        """
        record = self._record
        return cart_calls.lines(record.key, record.snapshot())

    def total(self) -> Decimal:
        """The exact sum of quantity times price; lines without a price count as 0."""
        return cart_calls.total(self.lines())

    def count(self) -> int:
        """How many pieces are in the cart."""
        return sum(line.quantity for line in (self.lines()).values())
