"""The blocking state as a dict: what its brackets, views and operators do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from redstate import _keys
from redstate._transactions import transactions
from redstate.calls.place import Place
from redstate.calls.state import ABSENT, UNCACHED, contained, edited, remembered
from redstate.errors import InvalidField, WrongType
from redstate.live.mapping import LiveMapping
from redstate.live.numbers import NUMBERS, Addition, addition_of, counted, settle
from redstate.live.replaced import watched
from redstate.live.source import Anchor, RootBytes, note_replaced
from redstate.live.values import CONTAINERS, LiveDict, LiveList, present
from redstate.nearcache.clock import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from redstate._sync.record import Record
    from redstate.calls.image import Image
    from redstate.calls.record import Snapshot
    from redstate.calls.state import Unread

T = TypeVar("T")


class LiveState(LiveMapping):
    """The dict side of :class:`redstate.State`; its named methods are generated from the awaited ones."""

    __slots__ = ()
    # A container that is looked up is seen by what is done with it.
    _observes: bool | None = None

    if TYPE_CHECKING:  # what the generated class has
        _record: Record

        def set(self, field: str, value: Any) -> int: ...

        def update(self, values: Any = None, /) -> int: ...

        def delete(self, *fields: str) -> int: ...

        def increment(self, field: str, by: int = 1) -> int: ...

        def setdefault(self, field: str, default: Any = None, /) -> Any: ...

        def has(self, field: str) -> bool: ...

        def all(self) -> dict[str, Any]: ...

        def _fetch(self, field: str, *, observe: bool | None) -> bytes | None: ...

        def _all_raw(self) -> Snapshot: ...

        def _replace(
            self,
            field: str,
            change: Callable[[bytes | None], tuple[bytes | None, T]],
            guess: bytes | Unread | None = ...,
            *,
            observe: bool = True,
        ) -> T: ...

    def __new__(cls, *arguments: Any) -> Any:
        if arguments and not hasattr(arguments[0], "codec"):
            # ``type(value)(...)``, as dataclasses.asdict has it, makes a plain one.
            return dict(*arguments)
        state: Any = super().__new__(cls)
        state._hold(None)
        return state

    def _replaced(self, *fields: str) -> None:
        """Other values were assigned to fields, or they are gone."""
        for field in fields:
            note_replaced(self._record.scope, (field,))

    def copy(self) -> dict[str, Any]:
        """Everything in it as plain data that is the caller's own, to any depth; as ``all()``."""
        return self.all()

    def __getitem__(self, field: Any) -> Any:
        # The hot read: what memory holds and nobody can change. Record.held() and in_any_transaction(), spelled out,
        # since two calls less are a third of the time.
        record = self._record
        copies = record.copies
        holding = copies.lookup(record.key)
        if holding is not None and not transactions():
            image, now = holding.copy, clock()
            oldest = now - record.local.longest
            if image is not None and image.since > oldest and copies.echo > oldest and image.until > now:
                try:
                    value = image.values.get(field, UNCACHED)
                    if value is UNCACHED:
                        value = self._remembered(field, image)
                except TypeError:
                    value = UNCACHED  # no name at all
                if value is not UNCACHED:
                    copies.counters.hits += 1
                    if type(value) in NUMBERS:
                        number = image.numbers.get(field)
                        if (
                            number is not None
                            and number._origin is record.origin
                            and number._born == number._replaced.tick
                        ):
                            return number
                        return self._number(field, value, image)
                    if value is ABSENT:
                        raise KeyError(field)
                    return value
        raw = self._fetch(field, observe=None) if _can_be(field) else None
        if raw is None:
            raise KeyError(field)
        # Only brackets can stand left of ``+=``, so only they make numbers that remember where they were read.
        value = self._present(field, raw)
        if type(value) not in NUMBERS:
            return value
        return counted(value, (record.origin, field), watched(record.origin))

    def _remembered(self, field: Any, image: Image) -> Any:
        """The value of a field in memory, alive if a container; ABSENT, or UNCACHED where it takes a longer look."""
        record = self._record
        held = image.containers.get(field)
        if held is None:
            if not _can_be(field):
                return UNCACHED
            value = remembered(record.codec, record.key, field, image)
            if value is not UNCACHED:
                return value
            held = contained(record.codec, record.key, field, image)
            if held is None:
                return UNCACHED
            # Kept as long as the image is, so that it need not be made for each look.
            image.kept = watched(record.origin)
        raw, seen, deep = held
        return present(Anchor(self, Place(field, seen), RootBytes(raw), plain=raw, shared=deep))

    def _number(self, field: Any, value: Any, image: Image) -> Any:
        """The number, as one that remembers where it was read; kept, and the same one until something is assigned."""
        origin = self._record.origin
        number = image.numbers[field] = counted(value, (origin, field), watched(origin))
        return number

    def __setitem__(self, field: Any, value: Any) -> None:
        where = (self._record.origin, field)
        if isinstance(value, (LiveDict, LiveList)) and not value._anchor.let_go and value._anchor.where() == where:
            # ``state["list"] += [1]``: it stands there already, and may have changed meanwhile.
            if not value._anchor.take_changed_in_place():
                self.setdefault(field, value._anchor.place.seen)  # unless others took it out
            return
        addition = addition_of(value, where)
        if addition is None:
            self.set(field, value)
        else:
            self._add(field, addition, value)
            settle(value)

    def _add(self, field: str, addition: Addition, value: Any) -> None:
        if type(addition.by) is int and isinstance(value, int) and abs(addition.by) < 2**63:
            with contextlib.suppress(WrongType):  # beyond 64 bits, or another kind of number by now: the long way
                self.increment(field, addition.by)
                return
        # Not by edit(), which assigns: others may be adding to the number that they read before.
        record = self._record
        self._replace(field, edited(record.codec, record.key, field, addition.to, 0))

    def __delitem__(self, field: Any) -> None:
        if not _can_be(field) or not self.delete(field):
            raise KeyError(field)

    def __contains__(self, field: object) -> bool:
        return _can_be(field) and self.has(field)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._all_raw().state))

    def __len__(self) -> int:
        return len(self._all_raw().state)

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def _pairs(self) -> list[tuple[str, Any]]:
        return [(name, self._present(name, raw)) for name, raw in self._all_raw().state.items()]

    def _present(self, field: str, raw: bytes) -> Any:
        """The value of a field, alive if it is a container."""
        record = self._record
        value = record.codec.decode(raw, key=record.key, field=_keys.STATE + field)
        if type(value) not in CONTAINERS:
            return value
        return present(Anchor(self, Place(field, value), RootBytes(raw)))


def _can_be(field: object) -> TypeGuard[str]:
    """Whether there can be a field of that name at all; a dict just says that it does not hold such a key.

    Raises:
        TypeError: it cannot be hashed, and so be no dict's key.
    """
    hash(field)
    if not isinstance(field, str):
        return False
    try:
        _keys.state_field(field)
    except InvalidField:
        return False
    return True
