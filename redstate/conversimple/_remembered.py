"""Names of conversations that are remembered for a while, so many at most."""

from __future__ import annotations

_MOST = 10_000


class Remembered:
    """The names that were added last."""

    def __init__(self) -> None:
        # In the order in which they came.
        self._names: dict[str, None] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Remember it; the oldest one is forgotten for it if need be."""
        self._names[name] = None
        if len(self._names) > _MOST:
            del self._names[next(iter(self._names))]

    def clear(self) -> None:
        """Forget all."""
        self._names.clear()
