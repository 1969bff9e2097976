"""Dicts and lists inside the state that behave as ``dict`` and ``list`` do, each change one atomic change of the field.

They are subclasses, so that ``isinstance`` and ``json.dumps`` take them for what they are. What they hold themselves is
what was last read, for code that looks at them from C; every method reads anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex

from redstate.calls import state as state_calls
from redstate.calls.place import Level, step_to
from redstate.errors import WrongType
from redstate.live.mapping import LiveMapping, plain
from redstate.live.numbers import NUMBERS, Addition, addition_of, counted, settle
from redstate.live.source import Anchor, own_copy, position

_MISSING: Any = object()
CONTAINERS = (dict, list)


def alive(anchor: Anchor, step: Any, outer: Any) -> Any:
    """What ``outer``, which was read at ``anchor``, holds at ``step``: containers live on, anything else is itself."""
    kind = type(outer[step])
    if kind is dict:
        return LiveDict(anchor.inside(step, outer))
    if kind is list:
        return LiveList(anchor.inside(step, outer))
    return outer[step]


def present(anchor: Anchor) -> Any:
    """The value at an anchor, alive if it is a container."""
    value = anchor.place.seen
    if type(value) is dict:
        return LiveDict(anchor)
    return LiveList(anchor) if type(value) is list else value


class LiveDict(LiveMapping):
    """A dict inside a state field. Obtained by reading it; it stays live as long as it is kept."""

    __slots__ = ("_anchor",)

    def __new__(cls, anchor: Any = ()) -> Any:
        # ``type(value)(...)``, as dataclasses.asdict has it, makes a plain one.
        return super().__new__(cls) if isinstance(anchor, Anchor) else dict(anchor)

    def __init__(self, anchor: Anchor) -> None:
        self._fill(anchor.for_storage())
        self._anchor = anchor

    def _now(self, *, observe: bool = True) -> dict[Any, Any]:
        now: dict[Any, Any]
        if self._anchor.unchanged():
            now = self._anchor.place.seen
            return now
        now = self._anchor.read(observe=observe)
        self._mirror()
        return now

    def _mirror(self) -> None:
        self._hold(self._anchor.for_storage())

    def _change(self, change: Callable[[dict[Any, Any]], Any], *, observe: bool = False) -> Any:
        result = self._anchor.change(change, observe=observe)
        self._mirror()
        return result

    def copy(self) -> dict[Any, Any]:
        # Decoded for this call alone, but for what the anchor remembers: that must not be handed out.
        own: dict[Any, Any] = own_copy(self._now())
        return own

    def _pairs(self) -> list[tuple[Any, Any]]:
        now = self._now()
        return [(key, alive(self._anchor, key, now)) for key in now]

    def __getitem__(self, key: Any) -> Any:
        anchor = self._anchor
        if anchor.unchanged():
            now = anchor.place.seen
        else:
            now = self._now(observe=False)
            if type(now.get(key)) not in CONTAINERS:
                anchor.observe()
        value = now[key]
        if type(value) in CONTAINERS:
            return alive(anchor, key, now)
        # Only brackets can stand left of ``+=``, so only they make numbers that remember where they were read.
        return counted(value, anchor.where(key), anchor.replacements) if type(value) in NUMBERS else value

    def __contains__(self, key: object) -> bool:
        return key in self._now()

    def get(self, key: Any, default: Any = None) -> Any:
        now = self._now()
        return alive(self._anchor, key, now) if key in now else default

    def __setitem__(self, key: Any, value: Any) -> None:
        _assign(self._anchor, key, value, self._change)

    def __delitem__(self, key: Any) -> None:
        self._change(lambda now: now.__delitem__(key))
        self._anchor.replaced(key)

    def update(self, *arguments: Any, **named: Any) -> None:
        merged: dict[Any, Any] = {}
        merged.update(*arguments, **named)
        if merged:
            self._change(lambda now: now.update(merged))
            for key in merged:
                self._anchor.replaced(key)
        else:
            self._anchor.source._record.nothing_to_do()

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        self._anchor.changed_in_place()
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        default = plain(default)
        self._change(lambda now: now.setdefault(key, default), observe=True)
        return alive(self._anchor, key, self._anchor.place.seen)

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        arguments = (key,) if default is _MISSING else (key, default)
        value = self._change(lambda now: now.pop(*arguments), observe=True)
        self._anchor.replaced(key)
        return value

    def popitem(self) -> tuple[Any, Any]:
        pair: tuple[Any, Any] = self._change(lambda now: now.popitem(), observe=True)
        self._anchor.replaced(pair[0])
        return pair

    def clear(self) -> None:
        for key in self._change(_cleared):
            self._anchor.replaced(key)


def _cleared(now: dict[Any, Any]) -> list[Any]:
    keys = list(now)
    now.clear()
    return keys


class LiveList(list[Any]):
    """A list inside a state field. Obtained by reading it; it stays live as long as it is kept."""

    __slots__ = ("_anchor",)
    __hash__ = None  # as list has it

    def __new__(cls, anchor: Any = ()) -> Any:
        return super().__new__(cls) if isinstance(anchor, Anchor) else list(anchor)

    def __init__(self, anchor: Anchor) -> None:
        super().__init__(anchor.for_storage())
        self._anchor = anchor

    def _now(self) -> list[Any]:
        now: list[Any]
        if self._anchor.unchanged():
            now = self._anchor.place.seen
            return now
        now = self._anchor.read()
        self._mirror()
        return now

    def _mirror(self) -> None:
        list.__setitem__(self, slice(None), self._anchor.for_storage())

    def _change(self, change: Callable[[list[Any]], Any], *, observe: bool = False) -> Any:
        result = self._anchor.change(change, observe=observe)
        self._mirror()
        return result

    def copy(self) -> list[Any]:
        """Everything in it as plain data that is the caller's own, to any depth."""
        own: list[Any] = own_copy(self._now())
        return own

    # Reading

    def __len__(self) -> int:
        return len(self._now())

    def __getitem__(self, index: Any) -> Any:
        now = self._now()
        if isinstance(index, slice):
            return [alive(self._anchor, at, now) for at in range(*index.indices(len(now)))]
        anchor, at = self._anchor, position(now, index)
        return counted(alive(anchor, at, now), anchor.where(at), anchor.replacements)

    def __iter__(self) -> Iterator[Any]:
        now = self._now()
        return iter([alive(self._anchor, at, now) for at in range(len(now))])

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(iter(self))[::-1])

    def __contains__(self, item: object) -> bool:
        return plain(item) in self._now()

    def index(self, item: Any, *bounds: SupportsIndex) -> int:
        return self._now().index(plain(item), *bounds)

    def count(self, item: Any) -> int:
        return self._now().count(plain(item))

    def __eq__(self, other: object) -> bool:
        return bool(self._now() == plain(other))

    def __ne__(self, other: object) -> bool:
        return bool(self._now() != plain(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self._now() < plain(other))

    def __le__(self, other: Any) -> bool:
        return bool(self._now() <= plain(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self._now() > plain(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self._now() >= plain(other))

    def __add__(self, other: Any) -> Any:
        return self.copy() + plain(other)

    def __radd__(self, other: Any) -> Any:
        return plain(other) + self.copy()

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return self.copy() * times

    def __rmul__(self, times: SupportsIndex) -> list[Any]:
        return self.copy() * times

    def __repr__(self) -> str:
        return repr(self._now())

    def __copy__(self) -> list[Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return self.copy()

    def __reduce__(self) -> Any:
        return list, (self.copy(),)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return self.__reduce__()

    def __redstate_plain__(self) -> list[Any]:
        return self.copy()

    # Changing

    def append(self, item: Any) -> None:
        self._extend((item,))

    def extend(self, items: Iterable[Any]) -> None:
        items = tuple(items)
        if items:
            self._extend(items)
        else:
            self._anchor.source._record.nothing_to_do()

    def __iadd__(self, items: Any) -> Any:
        self.extend(items)
        self._anchor.changed_in_place()
        return self

    def _extend(self, items: tuple[Any, ...]) -> None:
        anchor, items = self._anchor, tuple(map(plain, items))
        if anchor.place.parent is None and not anchor.let_go and not anchor.in_transaction():
            # A list that is a whole field grows without being read: the script splices the items in.
            record = anchor.source._record
            try:
                record.apply(state_calls.extend(record.codec, record.key, anchor.place.name, items, create=False))
            except WrongType:
                pass  # no list any more, or written in another form: the long way says which
            else:
                anchor.appended([own_copy(item) for item in items])
                list.extend(self, [own_copy(item) for item in items])
                return
        self._change(lambda now: now.extend(items))

    def insert(self, index: SupportsIndex, item: Any) -> None:
        item = plain(item)
        self._rearrange(lambda now: now.insert(index, item))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            values = [plain(one) for one in value] if isinstance(value, Iterable) else value  # which list refuses
            self._rearrange(lambda now: now.__setitem__(index, values))
        else:
            _assign(self._anchor, index, value, self._change)

    def __delitem__(self, index: Any) -> None:
        self._rearrange(lambda now: now.__delitem__(index))

    def __imul__(self, times: SupportsIndex) -> Any:
        self._rearrange(lambda now: now.__imul__(times))
        self._anchor.changed_in_place()
        return self

    def pop(self, index: SupportsIndex = -1) -> Any:
        return self._rearrange(lambda now: now.pop(index), observe=True)

    def remove(self, item: Any) -> None:
        item = plain(item)
        self._rearrange(lambda now: now.remove(item))

    def clear(self) -> None:
        self._rearrange(lambda now: now.clear())

    def reverse(self) -> None:
        self._rearrange(lambda now: now.reverse())

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        self._rearrange(lambda now: now.sort(key=key, reverse=reverse))

    def _rearrange(self, change: Callable[[list[Any]], Any], *, observe: bool = False) -> Any:
        result = self._change(change, observe=observe)
        self._anchor.rearranged()
        return result


def _assign(anchor: Anchor, step: Any, value: Any, perform: Callable[[Callable[[Any], None]], Any]) -> None:
    """Assign a value inside a container."""
    seen = anchor.place.seen
    at = position(seen, step) if type(seen) is list else step
    where = anchor.where(at)
    # ``d["list"] += [1]`` changes the list in place and then assigns it to where it stands already. Writing what was
    # read would undo what others changed in between.
    if isinstance(value, (LiveDict, LiveList)) and not value._anchor.let_go and value._anchor.where() == where:
        if not value._anchor.take_changed_in_place() and type(seen) is dict:
            held = value._anchor.place.seen
            perform(lambda now: now.setdefault(step, held))  # unless others took it out meanwhile
        return
    addition, new = addition_of(value, where), plain(value)
    if addition is not None:
        perform(lambda now: _add(now, Level(at, seen[at], seen), addition, anchor))
        settle(value)
        return
    perform(lambda now: now.__setitem__(step, new))
    if type(seen) is dict:
        anchor.replaced(step)
    else:
        anchor.rearranged()


def _add(now: Any, level: Level, addition: Addition, anchor: Anchor) -> None:
    """Add to a number where it stands by now: others may have moved it in its list."""
    at = step_to(level, now)
    if at is None:
        raise anchor.gone()
    now[at] = addition.to(now[at])
