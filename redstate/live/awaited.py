"""The awaited state's nested values: no I/O until a method is awaited."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from redstate import _keys
from redstate._transactions import pending_of
from redstate.calls.place import changed_at, value_at
from redstate.calls.state import extend
from redstate.errors import WrongType

if TYPE_CHECKING:
    from redstate._async.record import AsyncRecord
    from redstate.calls.record import Snapshot
    from redstate.calls.state import Unread

T = TypeVar("T")


class AsyncValue:
    """A value inside the state, named by its path: ``state["a"]["b"][0]``. Obtained by brackets, without I/O.

    ``await value`` reads it. The methods are those of ``dict`` and ``list``, awaited; each is one atomic change of its
    field, repeated on the newest value where another writer came first. An index names a place in the list as it is
    when the call is made.

    Raises (every method):
        KeyError, IndexError: there is no such place.
        TypeError, AttributeError: what stands there has no such method.
    """

    __slots__ = ("_path", "_state")

    def __init__(self, state: AsyncStateBase, path: tuple[Any, ...]) -> None:
        self._state = state
        self._path = path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {''.join(f'[{step!r}]' for step in self._path)}>"

    def __getitem__(self, step: Any) -> AsyncValue:
        return AsyncValue(self._state, (*self._path, step))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._read().__await__()

    async def get(self, step: Any, default: Any = None) -> Any:
        """The value at a key or an index, or ``default``."""
        try:
            return await self[step]
        except (KeyError, IndexError):
            await self  # without the container itself there is no default
            return default

    async def set(self, step: Any, value: Any) -> None:
        """Set the value at a key or an index."""
        await self._change(lambda now: now.__setitem__(step, value))

    async def delete(self, step: Any) -> None:
        """Delete a key, an index or a slice."""
        await self._change(lambda now: now.__delitem__(step))

    async def update(self, *arguments: Any, **named: Any) -> None:
        """Set several keys, as ``dict.update``."""
        merged = dict(*arguments, **named)
        await self._change(lambda now: now.update(merged))

    async def setdefault(self, key: Any, default: Any = None) -> Any:
        """As ``dict.setdefault``; the result is plain."""
        return await self._change(lambda now: now.setdefault(key, default), observe=True)

    async def pop(self, *arguments: Any) -> Any:
        """As ``dict.pop`` or ``list.pop``."""
        return await self._change(lambda now: now.pop(*arguments), observe=True)

    async def popitem(self) -> tuple[Any, Any]:
        """As ``dict.popitem``."""
        pair: tuple[Any, Any] = await self._change(lambda now: now.popitem(), observe=True)
        return pair

    async def clear(self) -> None:
        """Take everything out."""
        await self._change(lambda now: now.clear())

    async def append(self, item: Any) -> None:
        """As ``list.append``."""
        await self.extend((item,))

    async def extend(self, items: Iterable[Any]) -> None:
        """As ``list.extend``."""
        items = tuple(items)
        record, (field, *steps) = self._state._record, self._path
        if items and not steps and pending_of(record.scope) is None:
            # A list that is a whole field grows without being read: the script splices the items in.
            with contextlib.suppress(WrongType):  # no list any more, or absent: the long way says which
                await record.apply(extend(record.codec, record.key, field, items, create=False))
                return
        await self._change(lambda now: now.extend(items))

    async def insert(self, index: int, item: Any) -> None:
        """As ``list.insert``."""
        await self._change(lambda now: now.insert(index, item))

    async def remove(self, item: Any) -> None:
        """As ``list.remove``."""
        await self._change(lambda now: now.remove(item))

    async def reverse(self) -> None:
        """As ``list.reverse``."""
        await self._change(lambda now: now.reverse())

    async def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """As ``list.sort``."""
        await self._change(lambda now: now.sort(key=key, reverse=reverse))

    async def length(self) -> int:
        """How many there are."""
        return len(await self)

    async def has(self, item: Any) -> bool:
        """Whether a dict has the key, or a list the item."""
        return item in await self

    async def _read(self) -> Any:
        state, (field, *steps) = self._state, self._path
        record = state._record
        raw = await state._fetch(field, observe=True)
        if raw is None:
            raise KeyError(field)
        return value_at(record.codec.decode(raw, key=record.key, field=_keys.STATE + field), steps)

    async def _change(self, change: Callable[[Any], Any], *, observe: bool = False) -> Any:
        state, (field, *steps) = self._state, self._path
        record = state._record
        replay = changed_at(record.codec, record.key, field, steps, change)
        return await state._replace(field, replay, observe=observe)


class AsyncStateBase:
    """The part of the awaited state that is written apart from its blocking twin."""

    __slots__ = ()
    _observes: bool | None = True

    if TYPE_CHECKING:  # what the class has that this is the base of
        _record: AsyncRecord

        async def all(self) -> dict[str, Any]: ...

        async def _fetch(self, field: str, *, observe: bool | None) -> bytes | None: ...

        async def _all_raw(self) -> Snapshot: ...

        async def _replace(
            self,
            field: str,
            change: Callable[[bytes | None], tuple[bytes | None, T]],
            guess: bytes | Unread | None = ...,
            *,
            observe: bool = True,
        ) -> T: ...

    def __getitem__(self, field: str) -> AsyncValue:
        """A value inside the state, for its awaited methods; no I/O."""
        _keys.state_field(field)
        return AsyncValue(self, (field,))

    async def keys(self) -> list[str]:
        """The names of the fields in the order in which they came."""
        return list((await self._all_raw()).state)

    async def values(self) -> list[Any]:
        """The values of all fields, plain."""
        return list((await self.all()).values())

    async def items(self) -> list[tuple[str, Any]]:
        """Names and values of all fields, plain."""
        return list((await self.all()).items())

    async def length(self) -> int:
        """How many fields there are."""
        return len((await self._all_raw()).state)

    async def copy(self) -> dict[str, Any]:
        """As ``all``."""
        return await self.all()

    def _replaced(self, *fields: str) -> None:
        """Nothing is kept of a value here, so nothing has to be told."""

    def _present(self, field: str, raw: bytes) -> Any:
        record = self._record
        return record.codec.decode(raw, key=record.key, field=_keys.STATE + field)
