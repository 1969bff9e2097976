"""Which places of the state were given another value, and when.

A live value is known by its place. What was read there before another value was assigned is no part of the state any
more, as an object that a dict let go of: ``a, b = state["a"], state["b"]`` must be able to change places. This keeps
track of the assignments that go through one handle of the state; those of others are changes of the value itself.
"""

from __future__ import annotations

Path = tuple[object, ...]
"""A field and the steps inside it."""

# A handle that replaces more places than this while values of it are kept forgets the oldest of them.
_MOST = 1_000


class Replaced:
    """The assignments through one handle. Ticks count them."""

    __slots__ = ("_at", "tick", "watched")

    def __init__(self) -> None:
        self.tick = 0
        self.watched = False
        self._at: dict[Path, int] = {}

    def watch(self) -> int:
        """The tick at which a value was read; from now on assignments matter."""
        self.watched = True
        return self.tick

    def note(self, path: Path) -> None:
        """Another value was assigned to a place, or the one that was there is gone."""
        if not self.watched:
            return
        self.tick += 1
        self._at.pop(path, None)
        self._at[path] = self.tick
        if len(self._at) > _MOST:
            self._at.pop(next(iter(self._at)), None)

    def since(self, path: Path, tick: int) -> bool:
        """Whether a place, or one that it lies in, got another value after a tick."""
        at = self._at
        return bool(at) and any(at.get(path[:end], 0) > tick for end in range(1, len(path) + 1))
