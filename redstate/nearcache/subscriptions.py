"""Which keys are subscribed to, which are about to be, and which no longer need be. Its user holds a lock."""

from __future__ import annotations

from collections.abc import Callable

Changed = Callable[[], None]
Held = Callable[[str], bool]

# Evicted keys whose subscription still stands. They are given up together; some come back before that.
MOST_LOOSE = 64


class Subscriptions:
    """The subscriptions of one connection, and what is asked of it next.

    Attributes:
        pinned: keys that are watched, and whom to tell; they outlast a connection.
    """

    def __init__(self) -> None:
        self.pinned: dict[str, list[Changed]] = {}
        # Every key that is subscribed to, or about to be: whether the server has confirmed it.
        self._subscribed: dict[str, bool] = {}
        # Confirmations of a key that are yet to come. One that is given up and taken again has two.
        self._awaited: dict[str, int] = {}
        self._requests: list[tuple[bool, str]] = []
        self._loose: dict[str, None] = {}

    def stands(self, key: str) -> bool:
        """Whether the server has confirmed the subscription. May be asked without the lock."""
        return self._subscribed.get(key, False)

    def want(self, key: str) -> None:
        """Subscribe, unless that is done or under way."""
        self._loose.pop(key, None)
        if key not in self._subscribed:
            self._subscribed[key] = False
            self._awaited[key] = self._awaited.get(key, 0) + 1
            self._requests.append((True, key))

    def loosen(self, key: str) -> None:
        """Nothing is held of the key any more; its subscription can go."""
        if key in self._subscribed:
            self._loose[key] = None

    def shed(self, held: Held, *, also_few: bool) -> None:
        """Give up the subscriptions of loose keys, if nothing took them in again.

        Args:
            held: tells whether something is held of a key.
            also_few: whether to do so although there are not many.
        """
        if not also_few and len(self._loose) < MOST_LOOSE:
            return
        for key in self._loose:
            if not held(key) and key not in self.pinned and key in self._subscribed:
                del self._subscribed[key]
                self._requests.append((False, key))
        self._loose.clear()

    def take_requests(self) -> list[tuple[bool, str]]:
        """What is to be subscribed to (True) and what no longer (False), in order."""
        requests, self._requests = self._requests, []
        return requests

    def confirm(self, key: str) -> bool:
        """The server confirms one. Returns whether it stands now."""
        due = self._awaited.get(key, 0) - 1
        if due > 0:
            self._awaited[key] = due
            return False
        self._awaited.pop(key, None)
        if key not in self._subscribed:
            return False
        self._subscribed[key] = True
        return True

    def pin(self, key: str, changed: Changed) -> None:
        """The key is watched."""
        self.pinned.setdefault(key, []).append(changed)

    def unpin(self, key: str, changed: Changed, held: Held) -> None:
        """The opposite of ``pin``."""
        watchers = self.pinned.get(key, [])
        if changed in watchers:
            watchers.remove(changed)
        if not watchers:
            self.pinned.pop(key, None)
            if not held(key):
                self.loosen(key)

    def begin_anew(self) -> None:
        """There is another connection, on which nothing is subscribed to but what is pinned."""
        self.end()
        for key in self.pinned:
            self.want(key)

    def end(self) -> None:
        """The connection is gone, and every subscription with it."""
        for table in (self._subscribed, self._awaited, self._requests, self._loose):
            table.clear()
