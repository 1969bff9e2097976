"""The views of a live dict: each look at one reads it anew."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redstate.live.mapping import LiveMapping


class Keys(KeysView[Any]):
    """Its keys."""

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def __repr__(self) -> str:
        return f"dict_keys({list(self)})"


class Values(ValuesView[Any]):
    """Its values, those that are containers alive."""

    _mapping: LiveMapping

    def __iter__(self) -> Iterator[Any]:
        return iter([value for _, value in self._mapping._pairs()])

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def __contains__(self, value: object) -> bool:
        return any(value is one or value == one for one in self)

    def __repr__(self) -> str:
        return f"dict_values({list(self._mapping.copy().values())})"


class Items(ItemsView[Any, Any]):
    """Its keys with their values."""

    _mapping: LiveMapping

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self._mapping._pairs())

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self._mapping._pairs()[::-1])

    def __contains__(self, item: object) -> bool:
        items: Any = self._mapping.copy().items()
        return item in items

    def __repr__(self) -> str:
        return f"dict_items({list(self._mapping.copy().items())})"
