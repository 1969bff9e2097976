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


def backlog_of(now: int, parts: Iterable[tuple[int, int, int | None]]) -> Backlog:
    """The sum of the parts of the index.

    Args:
        now: the server's time in microseconds.
        parts: of each: how many conversations, how many are due, and since when the first of these is.
    """
    conversations = waiting = 0
    oldest = now
    for tracked, due, since in parts:
        conversations += tracked
        waiting += due
        oldest = min(oldest, now if since is None else since)
    return Backlog(conversations, waiting, (now - oldest) / 1_000_000)
