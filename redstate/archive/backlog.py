"""What is on the way to the archive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a store holds until it is archived.

    Attributes:
        conversations: how many there are, going on or not.
        due: how many of them have ended, or were silent for long, and wait for an archiver.
        oldest: for how many seconds the first of these has waited; 0 where none does.
    """

    conversations: int
    due: int
    oldest: float


def backlog_of(now: int, conversations: int, due: int, since: Iterable[int | None]) -> Backlog:
    """What the parts of the index come to.

    Args:
        now: the server's time in microseconds.
        conversations, due: how many there are, and how many are due.
        since: when the first one of each part in which any is due became due, in microseconds; None where it has left
            meanwhile.
    """
    oldest = min((when for when in since if when is not None), default=now)
    # What was first may have been put off since it was counted.
    return Backlog(conversations, due, max(0, now - oldest) / 1_000_000)
