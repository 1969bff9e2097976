"""What the processes of the soak share: which values were acknowledged and when, and how far each process is.

It is one file mapped into all of them, made of words of 64 bits. A word is written in one piece, so nobody sees half of
one, and no lock is needed: a value of a counter is acknowledged once, and a process writes no other's row of the board.
"""

from __future__ import annotations

import functools
import mmap
import time
from pathlib import Path
from types import TracebackType
from typing import Self

RING = 512
"""Acknowledgements kept of each key, the newest ones."""

BOARD = ("ready", "reads", "invalidations", "writes", "violations")
"""What each process tells about itself while it runs."""

_LOOKED_AT = 8  # values that follow the one that was read: some may not be acknowledged yet
_TIME_BITS = 40  # microseconds for twelve days; above them are 24 bits for the value
_TIME = (1 << _TIME_BITS) - 1
_WORD = 8

# The same clock in all processes of the machine, and it goes on while the machine sleeps.
_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
now = time.monotonic if _BOOT is None else functools.partial(time.clock_gettime, _BOOT)


class Ledger:
    """The shared file. In a with block; ``create`` makes it.

    Args:
        path: the file.
        processes: how many write to it.
        keys: how many counters there are.
        origin: when the run began; times are counted from there.
    """

    def __init__(self, path: Path, processes: int, keys: int, origin: float) -> None:
        self._origin = origin
        self._keys = keys
        self._first = processes * len(BOARD)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, path: Path, processes: int, keys: int, origin: float) -> Self:
        """A new one, in which nothing is acknowledged."""
        path.write_bytes(bytes(_WORD * (processes * len(BOARD) + keys * RING)))
        return cls(path, processes, keys, origin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._words.release()
        self._map.close()

    # Acknowledgements

    def acknowledge(self, key: int, value: int) -> bool:
        """The server has said that a counter was raised to ``value``. Returns False if it has said so before."""
        at = self._first + key * RING + value % RING
        again = self._words[at] >> _TIME_BITS == value
        # Rounded up: seen later than it was, never sooner.
        self._words[at] = value << _TIME_BITS | (int((now() - self._origin) * 1e6) + 1)
        return not again

    def age(self, key: int, value: int, at: float) -> tuple[float, int]:
        """How long ago a greater value than ``value`` was acknowledged, seen from the moment ``at``.

        Returns:
            Seconds, at most 0 where there was none then, and the greater value.
        """
        words, row = self._words, self._first + key * RING
        found, greater = -1.0, 0
        for following in range(value + 1, value + 1 + _LOOKED_AT):
            word = words[row + following % RING]
            # An old slot may have been taken by a later value already, which is greater still.
            if word >> _TIME_BITS > value:
                age = at - self._origin - (word & _TIME) / 1e6
                if age > found:
                    found, greater = age, word >> _TIME_BITS
        return found, greater

    def highest(self, key: int) -> int:
        """The highest value that was acknowledged."""
        row = self._first + key * RING
        return max(self._words[row : row + RING]) >> _TIME_BITS

    # The board

    def tell(self, process: int, **counts: int) -> None:
        """Write into the process's row of the board."""
        for name, count in counts.items():
            self._words[process * len(BOARD) + BOARD.index(name)] = count

    def told(self, name: str) -> list[int]:
        """What each process told last."""
        column = BOARD.index(name)
        return [self._words[row + column] for row in range(0, self._first, len(BOARD))]
