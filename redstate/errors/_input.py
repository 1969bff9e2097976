"""What is refused before anything is sent."""

from __future__ import annotations

from redstate.errors._base import RedstateError


class InvalidInput(RedstateError, ValueError):
    """The call was refused before anything was sent; nothing changed."""


class InvalidId(InvalidInput):
    """An id that cannot name a conversation."""

    advice = "Pass a non-empty str of at most 512 UTF-8 bytes"


class InvalidField(InvalidInput):
    """A state field or sku that cannot name one."""

    advice = "Pass a non-empty str of at most 256 UTF-8 bytes"


class InvalidQuantity(InvalidInput):
    """A quantity that is no positive whole number in range. Attributes: ``sku``."""

    advice = "Pass an int from 1 to 1,000,000,000; use remove() to take a line out"
    tells = ("sku",)


class InvalidPrice(InvalidInput):
    """A price that is no finite, non-negative number. Attributes: ``sku``."""

    advice = 'Pass a Decimal, an int or a str such as "19.99"'
    tells = ("sku",)


class InvalidTTL(InvalidInput):
    """An expiry that is no positive, finite number of seconds."""

    advice = "Pass a number of seconds from 0.001 to 315,360,000 (ten years)"


class InvalidValue(InvalidInput):
    """A value that the schema or the workflow does not take. Attributes: ``path``, ``expected`` (in words)."""

    advice = "Pass a value of the declared type"
    tells = ("path", "expected")
    path: str
    expected: str


class UnsupportedValue(InvalidInput):
    """A value that cannot be stored. Attributes: ``path`` (where inside the value), ``value_type``."""

    advice = "Store plain data, or a reference to the thing instead of the thing"
    tells = ("path", "value_type")
    path: str
    value_type: str


class TooLarge(InvalidInput):
    """Something exceeds a cap. Attributes: ``path``, ``limit``, ``actual`` (None if the server found it), ``unit``."""

    advice = "Store a reference to large data instead of the data, or raise the limit on the store"
    tells = ("path", "limit", "actual", "unit")
    path: str
    limit: int
    actual: int | None
    unit: str
