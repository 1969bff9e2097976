"""Repeating a compare-and-set until nobody else came first."""

from __future__ import annotations

import time

from redstate._jitter import between
from redstate.errors import ConflictError
from redstate.transport.aio import pause

_FIRST, _LONGEST = 0.0005, 0.05


class AsyncContention:
    """The attempts of one change: the body of a ``while`` loop over ``another()``.

    Each attempt that fails means that another writer's succeeded, so the second goes out at once. Later ones wait a
    random while that doubles, so that many writers of one field do not keep beating each other.

    Args:
        key: the record.
        timeout: seconds until ``another`` raises.
    """

    __slots__ = ("_ceiling", "_deadline", "_key", "_made", "_timeout")

    def __init__(self, key: str, timeout: float) -> None:
        self._key = key
        self._timeout = timeout
        self._made = 0
        self._ceiling = _FIRST
        self._deadline = 0.0

    async def another(self) -> bool:
        """Wait for the next attempt's turn. Returns True.

        Raises:
            ConflictError: the time is up.
        """
        self._made += 1
        if self._made == 1:
            return True
        now = time.monotonic()
        if self._made == 2:
            self._deadline = now + self._timeout
        elif now >= self._deadline:
            raise ConflictError(
                f"Other writers of {self._key} came first {self._made - 1} times in {self._timeout:g} s",
                next_step="Write to it from fewer places at once, or raise the timeout",
                key=self._key,
                expected_version=None,
                current_version=None,
                field=None,
            )
        else:
            await pause(between(0, self._ceiling))
            self._ceiling = min(self._ceiling * 2, _LONGEST)
        return True
