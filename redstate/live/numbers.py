"""Numbers that remember where they were read, so that ``state["n"] += 1`` adds instead of overwriting.

Python makes three steps of it: read, add, assign. A plain number would carry only the sum to the third, and a change of
another writer in between would be lost. These carry what was added as well; assigned to where they were read, it is
that which counts. In all else they are the numbers that they look like.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from redstate.live.replaced import Replaced

Where = tuple[object, ...]
"""What tells a place from all others: scope of the store, key, field, path inside it."""


class Addition(NamedTuple):
    """What was added to a number since it was read, and what that made of it."""

    base: Any
    by: Any
    total: Any

    def to(self, now: Any) -> Any:
        """The sum with what stands there now; of the number that was read it is the one that the caller saw."""
        return self.total if type(now) is type(self.base) and now == self.base else now + self.by


class _Counted:
    """What the three kinds share."""

    _where: Where
    # Of the place, apart: a hot read compares it.
    _origin: object
    _replaced: Replaced
    _born: int
    _addition: Addition | None

    def __iadd__(self, by: Any) -> Any:
        return _sum(self, by) if isinstance(by, (int, float, Decimal)) else NotImplemented

    def __isub__(self, by: Any) -> Any:
        return _sum(self, -by) if isinstance(by, (int, float, Decimal)) else NotImplemented

    def __reduce__(self) -> Any:
        value = self.__redstate_plain__()
        return type(value), (str(value),)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()

    def __redstate_plain__(self) -> Any:
        raise NotImplementedError


class LiveInt(_Counted, int):
    """An int of the state."""

    def __redstate_plain__(self) -> int:
        return int(self)


class LiveFloat(_Counted, float):
    """A float of the state."""

    def __redstate_plain__(self) -> float:
        return float(self)


class LiveDecimal(_Counted, Decimal):
    """A Decimal of the state."""

    def __redstate_plain__(self) -> Decimal:
        return Decimal(self)


NUMBERS: dict[type, type[Any]] = {int: LiveInt, float: LiveFloat, Decimal: LiveDecimal}


def counted(value: Any, where: Where, replaced: Replaced) -> Any:
    """A number that remembers where and when it was read; any other value as it is."""
    kind = NUMBERS.get(type(value))
    if kind is None:
        return value
    number = kind(value)
    number._where = where
    number._origin = where[0]
    number._replaced, number._born = replaced, replaced.tick
    number._addition = None
    return number


def addition_of(value: Any, where: Where) -> Addition | None:
    """What was added to a number since it was read, or last assigned, at ``where``; None where nothing was."""
    if not isinstance(value, _Counted) or value._where != where or value._replaced.since(where[1:], value._born):
        return None
    return value._addition


def settle(value: Any) -> None:
    """The number was assigned: what was added to it must not count again when it is assigned again."""
    if isinstance(value, _Counted):
        value._addition = None


def _sum(number: _Counted, by: Any) -> Any:
    by = by.__redstate_plain__() if isinstance(by, _Counted) else by
    base, added = number.__redstate_plain__(), by
    total = counted(base + by, number._where, number._replaced)
    if isinstance(total, _Counted):
        if number._addition is not None:
            base, added = number._addition.base, number._addition.by + by
        total._born, total._addition = number._born, Addition(base, added, total.__redstate_plain__())
    return total
