"""The awaited state's nested values: no I/O until a method is awaited."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Generator, Iterable
from decimal import Decimal
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


class _Awaited:
    """What stands for a value without being it: where Python would ask it something, it says what to await instead.

    A forgotten ``await`` would else be true in an ``if``, unequal to everything, and endless in a loop. It still has a
    hash, its identity: ``asyncio.gather`` needs one.
    """

    __slots__ = ()

    def _instead(self, method: str) -> str:
        """What to write where the method was meant; "" for the value itself."""
        raise NotImplementedError

    def _unread(self, method: str = "") -> TypeError:
        return TypeError(f"The state has to be awaited: write {self._instead(method)}")

    __hash__ = object.__hash__

    if not TYPE_CHECKING:  # to a type checker there are no such methods, so that it says so before Python does

        def __bool__(self):
            raise self._unread()

        def __eq__(self, other):
            raise self._unread()

        def __iter__(self):
            raise self._unread("iter")

        __aiter__ = __iter__

        def __len__(self):
            raise self._unread("length()")

        def __contains__(self, item):
            raise self._unread("has(...)")


class AsyncValue(_Awaited):
    """A value inside the state, named by its path: ``state["a"]["b"][0]``. Obtained by brackets, without I/O.

    ``await value`` reads it; to ask it something without (``if``, ``in``, ``len``, ``==``, a loop) is a TypeError. The
    methods are those of ``dict`` and ``list``, awaited; each is one atomic change of its field, repeated on the newest
    value where another writer came first. An index names a place in the list as it is when the call is made.

    Raises (every method):
        KeyError, IndexError: there is no such place.
        TypeError, AttributeError: what stands there has no such method.
    """

    __slots__ = ("_path", "_state")

    def __init__(self, state: AsyncStateBase, path: tuple[Any, ...]) -> None:
        self._state = state
        self._path = path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._brackets()}>"

    def _brackets(self) -> str:
        return "".join(f"[{step!r}]" for step in self._path)

    def _instead(self, method: str) -> str:
        value = f"await state{self._brackets()}"
        return value if method in ("", "iter") else f"{value}.{method}"

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

    async def increment(self, step: Any, by: Any = 1) -> Any:
        """Add to the number at a key or an index; an absent key counts as 0. Returns the new number.

        Args:
            step: the key or the index.
            by: an int, a float or a Decimal.

        Raises:
            TypeError: no number is to be added, or none stands there.
        """
        if isinstance(by, bool) or not isinstance(by, (int, float, Decimal)):
            raise TypeError(f"increment takes a number, not {type(by).__name__}")
        return await self.edit(step, lambda now: now + by, 0)

    async def edit(self, step: Any, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Make a new value of the newest one at a key or an index, atomically. Returns the new value, plain.

        Args:
            step: the key or the index.
            change: takes the value (yours to change) and returns the new one. Where another writer comes first it is
                called again with theirs, so it should do nothing else.
            default: the value of an absent key.

        Raises:
            ConflictError: others came first for as long as a call may take.
        """

        def edited(now: Any) -> None:
            absent = isinstance(now, dict) and step not in now
            now[step] = change(copy.deepcopy(default) if absent else now[step])

        state, (field, *steps) = self._state, self._path
        codec, key = state._record.codec, state._record.key
        replay = changed_at(codec, key, field, steps, edited)

        def stored(raw: bytes | None) -> tuple[bytes, Any]:
            new, _ = replay(raw)
            # A schema may have made something else of it.
            return new, value_at(codec.decode(new, key=key, field=_keys.STATE + field), (*steps, step))

        return await state._replace(field, stored)

    async def append(self, item: Any) -> None:
        """As ``list.append``."""
        if not await self._spliced((item,)):
            await self._change(lambda now: now.append(item))

    async def extend(self, items: Iterable[Any]) -> None:
        """As ``list.extend``."""
        items = tuple(items)
        if not items:
            await self._state._record.nothing_to_do()
        elif not await self._spliced(items):
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

    async def _spliced(self, items: tuple[Any, ...]) -> bool:
        """Append to a list that is a whole field, which takes no reading. Returns whether it was one."""
        record, (field, *steps) = self._state._record, self._path
        if items and not steps and pending_of(record.scope) is None:
            with contextlib.suppress(WrongType):  # no list any more, or absent: the long way says which
                await record.apply(extend(record.codec, record.key, field, items, create=False))
                return True
        return False

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


class AsyncStateBase(_Awaited):
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

    def _instead(self, method: str) -> str:
        return {"": "await state.all()", "iter": "await state.keys()"}.get(method, f"await state.{method}")

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
