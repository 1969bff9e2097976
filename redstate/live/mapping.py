"""How a live dict is read, whatever it is a part of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

from redstate.live.views import Items, Keys, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    # To a type checker it is no dict: some of its methods return more.
    _Dict = Mapping[Any, Any]
else:
    _Dict = dict


class _Hidden:
    """Stands in the storage that a dict has in C: code that looks there, past every method, finds a key that it cannot
    use, instead of taking the dict for empty."""

    def __repr__(self) -> str:
        return "<redstate: take a copy() of the state>"


_HIDDEN = {_Hidden(): None}


def plain(value: Any) -> Any:
    """A live value as plain data; anything else as it is."""
    as_plain = getattr(value, "__redstate_plain__", None)
    return value if as_plain is None else as_plain()


class LiveMapping(_Dict):
    """How a live dict is read. Iteration goes over what there was when it began."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as dict has it

    def _hold(self, content: Any) -> None:
        """Fill the storage that code in C looks at."""
        storage: Any = self
        dict.clear(storage)
        self._fill(content)

    def _fill(self, content: Any) -> None:
        """The same, of storage that is empty yet."""
        storage: Any = self
        dict.update(storage, content or _HIDDEN)

    def copy(self) -> dict[Any, Any]:
        """Everything in it as plain data that is the caller's own, to any depth."""
        raise NotImplementedError

    def _pairs(self) -> list[tuple[Any, Any]]:
        """Keys with their values, alive, of one moment."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.copy()))

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self)[::-1])

    def __len__(self) -> int:
        return len(self.copy())

    def keys(self) -> Any:
        return Keys(self)

    def values(self) -> Any:
        return Values(self)

    def items(self) -> Any:
        return Items(self)

    def __eq__(self, other: object) -> bool:
        return bool(self.copy() == plain(other))

    def __ne__(self, other: object) -> bool:
        return bool(self.copy() != plain(other))

    def __or__(self, other: Any) -> Any:
        return self.copy() | plain(other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return plain(other) | self.copy() if isinstance(other, dict) else NotImplemented

    def __repr__(self) -> str:
        return repr(self.copy())

    def __copy__(self) -> dict[Any, Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return self.copy()

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return self.__reduce__()

    def __redstate_plain__(self) -> dict[Any, Any]:
        return self.copy()

    @classmethod
    def fromkeys(cls, *arguments: Any) -> dict[Any, Any]:
        return dict.fromkeys(*arguments)
