"""Which places of a state were given another value, and when.

A live value is known by its place. What was read there before another value was assigned is no part of the state any
more, as an object that a dict let go of: ``state["a"], state["b"] = state["b"], state["a"]`` must change places. This
keeps track of the assignments that this process makes, through whatever handle; those of others are changes of the
value itself. It is kept for a record as long as a live value of it is.
"""

from __future__ import annotations

import os
import threading
from weakref import ref

Path = tuple[object, ...]
"""A field and the steps inside it."""

Origin = tuple[int, str]
"""A record of a store."""

# More places than this are not remembered; the oldest are forgotten.
_MOST = 1_000


class Replaced:
    """The assignments to places of one record. Ticks count them."""

    __slots__ = ("__weakref__", "_at", "tick")

    def __init__(self) -> None:
        self.tick = 0
        self._at: dict[Path, int] = {}

    def note(self, path: Path) -> None:
        """Another value was assigned to a place, or the one that was there is gone."""
        self.tick += 1
        self._at.pop(path, None)
        self._at[path] = self.tick
        if len(self._at) > _MOST:
            self._at.pop(next(iter(self._at)), None)

    def forget(self, path: Path, tick: int) -> None:
        """The assignment of that tick was not made after all."""
        if self._at.get(path) == tick:
            del self._at[path]

    def since(self, path: Path, tick: int) -> bool:
        """Whether a place, or one that it lies in, got another value after a tick."""
        at = self._at
        return bool(at) and any(at.get(path[:end], 0) > tick for end in range(1, len(path) + 1))

    def at(self, path: Path) -> int:
        """The tick of the last assignment to a place itself; 0 where there was none."""
        return self._at.get(path, 0)


# Bare references, swept now and then: a WeakValueDictionary runs code whenever a value goes, and Python swallows what a
# signal handler, such as that of Ctrl-C, raises there.
_records: dict[Origin, ref[Replaced]] = {}
_lock = threading.Lock()
_FIRST_SWEEP = 1_000
_sweep_at = _FIRST_SWEEP


def watched(origin: Origin) -> Replaced:
    """The assignments to a record, for a value that is kept."""
    # As known(), spelled out: every live value is made with this.
    reference = _records.get(origin)
    replaced = None if reference is None else reference()
    if replaced is None:
        with _lock:
            replaced = known(origin)
            if replaced is None:
                replaced = Replaced()
                _records[origin] = ref(replaced)
                if len(_records) >= _sweep_at:
                    _sweep()
    return replaced


def known(origin: Origin) -> Replaced | None:
    """The assignments to a record, if any value of it is kept; else they do not matter."""
    reference = _records.get(origin)
    return None if reference is None else reference()


def _sweep() -> None:
    global _sweep_at  # noqa: PLW0603 - the table is one for the process, and so is its measure
    for origin, reference in list(_records.items()):
        if reference() is None:
            del _records[origin]
    _sweep_at = max(_FIRST_SWEEP, 2 * len(_records))


def _unlock() -> None:
    # A thread that a forked child does not have may have held it.
    global _lock  # noqa: PLW0603 - as above
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock)
