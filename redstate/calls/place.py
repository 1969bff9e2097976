"""Where a nested value stands inside a state field, and what a change at that place makes of the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher
from typing import Any, NamedTuple, TypeVar

from redstate import _keys
from redstate._codec import Codec, Limits
from redstate._codec.limits import DEEPEST
from redstate.errors import Detached, TooLarge

T = TypeVar("T")

_ROOMY = Codec(Limits(max_value_bytes=2**31, max_items=2**31, max_depth=DEEPEST))

# A long stretch that differs is not aligned, which takes the square of its length: only equals are found in it.
_MOST_COMPARED = 250_000
_MOST_LOOKED_AT = 50

Step = Any
"""A key of a dict or an index of a list."""


class Level(NamedTuple):
    """One step on the way to a container: the step, what was last seen there, and in what."""

    step: Step
    seen: Any
    outer: Any


class Place:
    """A container inside a field: the field itself, or a step further than another place.

    It remembers what it last saw there. An index is no name: where another writer has inserted or removed before it,
    the container that is meant is found again by what it holds and stands between, and a change never falls on its
    neighbour. (Neighbours that are equal cannot always be told apart.)

    Threads may share a place: what it remembers is replaced as a whole.

    Attributes:
        name: the state field.
    """

    __slots__ = ("_level", "name", "parent")

    def __init__(self, name: str, seen: Any, parent: Place | None = None, step: Step = None, outer: Any = None) -> None:
        self.name = name
        self.parent = parent
        # A named tuple's own way to be made takes twice as long, and this is made for every look at a container.
        self._level = tuple.__new__(Level, (step, seen, outer))

    @property
    def seen(self) -> Any:
        """The container as it was last seen, plain; never handed out."""
        return self._level.seen

    @property
    def path(self) -> tuple[Step, ...]:
        """The steps from the field to here."""
        return () if self.parent is None else (*self.parent.path, self._level.step)

    def inside(self, step: Step, outer: Any) -> Place:
        """The place of a container that this one holds, or held when it was ``outer``."""
        return Place(self.name, outer[step], self, step, outer)

    def trail(self) -> tuple[Level, ...]:
        """What is remembered, from the field to here: what a change that may be repeated later has to go by."""
        return (self._level,) if self.parent is None else (*self.parent.trail(), self._level)

    def remember(self, value: Any, steps: tuple[Step, ...]) -> Any:
        """See the container, and those around it, as they are in ``value``. Returns the container."""
        if self.parent is None:
            self._level = Level(None, value, None)
            return value
        outer = self.parent.remember(value, steps[:-1])
        found = outer[steps[-1]]
        self._level = Level(steps[-1], found, outer)
        return found


def find(name: str, trail: tuple[Level, ...], value: Any, strictly: tuple[bool, ...]) -> tuple[Step, ...]:
    """The steps to the container that a trail led to, in a newer value of the field.

    Args:
        name: the field.
        trail: what was last seen on the way.
        value: the newer value.
        strictly: for each step, whether an element must hold just what it held; else it may have been changed where it
            stands.

    Raises:
        Detached: there is no such container any more.
    """
    steps: list[Step] = []
    for number, level in enumerate(trail):
        if number:
            step = step_to(level, value, strict=strictly[number - 1])
            if step is None:
                raise _gone(name)
            steps.append(step)
            value = value[step]
        if type(value) is not type(level.seen):
            raise _gone(name)
    return tuple(steps)


def step_to(level: Level, outer: Any, *, strict: bool = False) -> Step:
    """Where the container of a level stands in a newer state of what held it; None where it does not."""
    step, seen, before = level
    if type(outer) is dict:
        return step if step in outer else None
    if len(outer) == len(before) and outer[step] == seen:
        return step
    at = _moved(step, seen, before, outer)
    if at is None or outer[at] == seen:
        return at
    return None if strict or not _may_be(seen, outer[at]) else at


def _may_be(seen: Any, now: Any) -> bool:
    """Whether an element that stands where another stood can be that one, changed.

    What is replaced by something else of its kind differs in most of what it holds, and in what comes first: an id, a
    name. Where that cannot be told, a changed element is better refused than its neighbour changed.
    """
    if type(seen) is dict and type(now) is dict and len(seen) > 1:
        same = [key for key in seen if key in now and now[key] == seen[key]]
        return same[:1] == list(seen)[:1] or 2 * len(same) > len(seen)
    if type(seen) is list and type(now) is list and len(seen) > 1:
        return any(one in now for one in seen[:_MOST_LOOKED_AT])
    return type(seen) is type(now)


def _moved(step: int, seen: Any, before: list[Any], after: list[Any]) -> int | None:
    """Where an element of a list went when others changed the list; None where it is gone."""
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    if step < head:
        return step
    rest = shorter - head
    tail = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    if step >= len(before) - tail:
        return step - len(before) + len(after)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    at = _matched(step - head, seen, old, new)
    if at is None or (new[at] != seen and new[at] in before):
        return None  # what stands there now is another element
    return head + at


def _matched(step: int, seen: Any, old: list[Any], new: list[Any]) -> int | None:
    """Where an element went between two states of a stretch of a list."""
    if len(old) * len(new) > _MOST_COMPARED:
        return next((at for at, element in enumerate(new) if element == seen), None)
    blocks = SequenceMatcher(None, [*map(repr, old)], [*map(repr, new)]).get_opcodes()
    kind, low, high, start, end = next(block for block in blocks if block[1] <= step < block[2])
    if kind == "equal":
        return start + step - low
    for at, element in enumerate(new):
        if element == seen and type(element) is type(seen):
            return at
    # Between the same neighbours, and as many as there were: it was changed where it stands.
    return start + step - low if high - low == end - start else None


def _gone(name: str) -> Detached:
    return Detached(f"The value that was read from field {name!r} is not there any more", field=name)


def changed(
    codec: Codec,
    key: str,
    name: str,
    trail: tuple[Level, ...],
    strictly: tuple[bool, ...],
    raw: bytes | None,
    change: Callable[[Any], T],
) -> tuple[bytes, tuple[Step, ...], T]:
    """What a change makes of a field. Pure: nothing is sent or remembered.

    Args:
        codec: decodes and encodes.
        key: the record, for errors.
        name: the state field.
        trail, strictly: lead to the container that is changed; see ``find``.
        raw: the field as it is; None where it is absent.
        change: changes the container in place.

    Returns:
        the field's new bytes, the steps to the container in them, and what ``change`` returned.

    Raises:
        Detached: the container is not there any more.
        UnsupportedValue, TooLarge: the new value cannot be stored.
        whatever ``change`` raises.
    """
    if raw is None:
        raise _gone(name)
    value = codec.decode(raw, key=key, field=_keys.STATE + name)
    steps = find(name, trail, value, strictly)
    result = change(value_at(value, steps))
    return _reencoded(codec, key, value, name, raw), steps, result


def value_at(value: Any, steps: Iterable[Step]) -> Any:
    """What stands at the end of a path inside a value.

    Raises:
        KeyError, IndexError, TypeError: there is no such place.
    """
    for step in steps:
        value = value[step]
    return value


def changed_at(
    codec: Codec, key: str, name: str, steps: list[Step], change: Callable[[Any], T]
) -> Callable[[bytes | None], tuple[bytes, T]]:
    """A change at a path inside a field, as a change of the field's bytes that can be repeated on newer ones."""

    def replay(raw: bytes | None) -> tuple[bytes, T]:
        if raw is None:
            raise KeyError(name)
        value = codec.decode(raw, key=key, field=_keys.STATE + name)
        result = change(value_at(value, steps))
        return _reencoded(codec, key, value, name, raw), result

    return replay


def _reencoded(codec: Codec, key: str, value: Any, name: str, before: bytes) -> bytes:
    try:
        return codec.encode(value, name, before=before)
    except TooLarge:
        # Appending is not counted in items: what grew past that cap can at least be made smaller again.
        smaller = _ROOMY.encode(value, name)
        field = _keys.STATE + name
        if len(smaller) >= len(codec.plain(before, key=key, field=field)):
            raise
        return codec.stored(smaller, field)
