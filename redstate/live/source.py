"""What live values need of the state that they are a part of, and how they read and change it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson

from redstate import _keys
from redstate._codec import Codec
from redstate._transactions import Scope, pending_of, transactions
from redstate.calls.place import Place, changed, find
from redstate.calls.state import UNREAD, Unread, has_tags
from redstate.errors import Detached
from redstate.live.replaced import Origin, Path, known, watched

if TYPE_CHECKING:
    from redstate.calls.image import Image
    from redstate.nearcache.copies import Copies

T = TypeVar("T")

# Stands in a path for all elements of a list.
_ELEMENTS = object()


class Record(Protocol):
    """The part of a record that is used here."""

    @property
    def key(self) -> str: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def origin(self) -> Origin: ...

    @property
    def copies(self) -> Copies: ...

    def held(self) -> Image | None: ...

    @property
    def codec(self) -> Codec: ...

    def apply(self, call: Any) -> Any: ...

    def nothing_to_do(self) -> None: ...


class Source(Protocol):
    """The blocking state, as its live values see it."""

    @property
    def _record(self) -> Record: ...

    def _fetch(self, field: str, *, observe: bool | None) -> bytes | None: ...

    def _replace(
        self,
        field: str,
        change: Callable[[bytes | None], tuple[bytes | None, T]],
        guess: bytes | Unread | None = UNREAD,
        *,
        observe: bool = True,
    ) -> T: ...


class Anchor:
    """A container inside the state: where it stands, and the bytes of its field as they were last seen."""

    __slots__ = (
        "_born",
        "_in_place",
        "_let_go",
        "_located",
        "_plain",
        "_shared",
        "place",
        "replacements",
        "root",
        "source",
    )

    def __init__(
        self,
        source: Source,
        place: Place,
        root: RootBytes,
        *,
        let_go: bool = False,
        plain: bytes | None = None,
        shared: bool = False,
    ) -> None:
        self.source = source
        self.place = place
        self.root = root
        # The very bytes in which the place was last found, where they hold nothing that a caller could change: while
        # memory has them, what was seen is what there is.
        self._plain = plain
        # Whether others look at the very containers inside of what was seen.
        self._shared = shared
        self.replacements = watched(source._record.origin)
        self._born = self.replacements.tick
        # The tick at which it was last found where it stands.
        self._located = self._born
        self._let_go = let_go
        self._in_place = False

    @property
    def let_go(self) -> bool:
        """Whether another value was assigned to the place: then this one is what was last seen, and changes no more."""
        if self.replacements.tick == self._born:
            return self._let_go
        return self._let_go or self.replacements.since((self.place.name, *self.place.path), self._born)

    def changed_in_place(self) -> None:
        """An operator such as ``+=`` changed it; Python assigns it to its place next."""
        self._in_place = True

    def take_changed_in_place(self) -> bool:
        """Whether an assignment is the second half of such an operator."""
        in_place, self._in_place = self._in_place, False
        return in_place

    def gone(self) -> Detached:
        """What to raise where the value is not there any more."""
        return Detached(
            f"The value that was read from {self.place.name!r} is not there any more", field=self.place.name
        )

    def replaced(self, step: Any) -> None:
        """What stood at a step inside was replaced, or is gone."""
        note_replaced(self.source._record.scope, (self.place.name, *self.place.path, step))

    def rearranged(self) -> None:
        """Elements of this list were replaced, or taken out: what is kept of them is known by what it holds alone."""
        note_replaced(self.source._record.scope, (self.place.name, *self.place.path, _ELEMENTS))

    def _strictly(self) -> tuple[bool, ...]:
        """For each step to here, whether this process rearranged its list since the value was found there."""
        path = (self.place.name, *self.place.path)
        at = self.replacements.at
        return tuple(at((*path[:end], _ELEMENTS)) > self._located for end in range(1, len(path)))

    def inside(self, step: Any, outer: Any) -> Anchor:
        """The anchor of a container that this one holds, or held when it was ``outer``."""
        plain = self._plain if outer is self.place.seen else None
        inner = self.place.inside(step, outer)
        return Anchor(self.source, inner, self.root, let_go=self.let_go, plain=plain, shared=self._shared)

    def for_storage(self) -> Any:
        """What was last seen, for the storage that code in C takes things out of, past every method."""
        if not self._shared:
            return self.place.seen
        if self._plain is not None and self.place.parent is None:
            # Read once before, so it needs no checking: for a long list this takes a tenth of copying it.
            return orjson.loads(self._plain)
        return own_copy(self.place.seen)

    def in_transaction(self) -> bool:
        """Whether the running code collects changes of this record."""
        return pending_of(self.source._record.scope) is not None

    def appended(self, items: list[Any]) -> None:
        """Items were added to the list, which is a whole field, without its being read."""
        self.place.remember([*self.place.seen, *items], ())
        self.root.raw, self._plain = UNREAD, None

    def observe(self) -> None:
        """The caller sees a value of the field itself, which then must last a transaction."""
        if self.in_transaction():
            self.source._fetch(self.place.name, observe=True)

    def where(self, *steps: Any) -> tuple[object, ...]:
        """What tells this place, or one so many steps further, from all others."""
        return (self.source._record.origin, self.place.name, *self.place.path, *steps)

    def unchanged(self) -> bool:
        """Whether memory can tell that the container is what was last seen. It looks at nothing else."""
        if self._plain is None or (self.replacements.tick != self._born and self.let_go) or self._let_go:
            return False
        record = self.source._record
        image = record.held()
        if image is None or transactions():
            return False
        held = image.containers.get(self.place.name)
        raw = image.fields.get(_keys.STATE_BYTES + self.place.name.encode()) if held is None else held[0]
        if raw is not self._plain:
            return False
        record.copies.counters.hits += 1
        return True

    def read(self, *, observe: bool = True) -> Any:
        """The container as it is now, plain.

        An element that was taken out of its list, or a value whose place was given another one, can still be looked at,
        as an object in memory could.

        Args:
            observe: whether the caller sees the values in it, and not only containers.

        Raises:
            Detached: it is not there any more.
        """
        if self.let_go:
            return self.place.seen
        place, record = self.place, self.source._record
        trail, strictly, tick = place.trail(), self._strictly(), self.replacements.tick
        raw = self.source._fetch(place.name, observe=observe)
        if raw is None:
            raise Detached(f"Field {place.name!r} of {record.key} is not there any more", field=place.name)
        value = record.codec.decode(raw, key=record.key, field=_keys.STATE + place.name)
        try:
            steps = find(place.name, trail, value, strictly)
        except Detached:
            if not any(type(level.outer) is list for level in trail):
                raise
            return trail[-1].seen
        self.root.raw, self._located = raw, tick
        self._plain = None if has_tags(raw) else raw
        return place.remember(value, steps)

    def change(self, change: Callable[[Any], T], *, observe: bool) -> T:
        """Change the container atomically; repeated on its newest value where another writer came first.

        Args:
            change: changes the plain container in place.
            observe: whether its result tells the caller something about the container.
        """
        place, record = self.place, self.source._record
        if self.let_go:
            raise Detached(f"Another value was assigned to where this one stood in {place.name!r}", field=place.name)
        trail, strictly = place.trail(), self._strictly()

        def replay(raw: bytes | None) -> tuple[bytes | None, tuple[bytes, tuple[Any, ...], T]]:
            new, steps, result = changed(record.codec, record.key, place.name, trail, strictly, raw, change)
            return new, (new, steps, result)

        new, steps, result = self.source._replace(place.name, replay, self.root.raw, observe=observe)
        # Decoded anew: what the caller put in stays the caller's, and may be changed afterwards.
        place.remember(record.codec.decode(new, key=record.key, field=_keys.STATE + place.name), steps)
        self.root.raw = self._plain = new
        if has_tags(new):
            self._plain = None
        return result


def position(items: list[Any], index: Any) -> Any:
    """An index counted from the front; what is no index of the list as it is, for the list to refuse."""
    at = index.__index__() if hasattr(index, "__index__") else index
    return at + len(items) if type(at) is int and -len(items) <= at < 0 else at


def own_copy(value: Any) -> Any:
    """A copy to any depth of containers; what is in them cannot be changed, or is copied by the codec's rebuilding."""
    kind = type(value)
    if kind is dict:
        return {key: own_copy(one) for key, one in value.items()}
    if kind is list:
        return [own_copy(one) for one in value]
    return value


def note_replaced(scope: Scope, path: Path) -> None:
    """Take note of an assignment; in a transaction, until it is dropped."""
    replaced = known(scope[:2])
    if replaced is None:
        return
    replaced.note(path)
    pending = pending_of(scope)
    if pending is not None:
        pending.undo.append(functools.partial(replaced.forget, path, replaced.tick))


class RootBytes:
    """The bytes of a field as its live values last saw them: what a first attempt at a change goes out with."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes | Unread) -> None:
        self.raw = raw
