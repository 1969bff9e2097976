"""The place of a key in memory: the copy that it holds, and what was heard of the key."""

from __future__ import annotations

from typing import Any, Protocol


class Copy(Protocol):
    """What was read of a key. Nobody changes it.

    Attributes:
        version: of the record; 0 where there is none, or where the key has no versions.
        since: when it was asked for.
        until: when the key will have expired.
        size: about how many bytes it takes.
    """

    @property
    def version(self) -> int: ...

    @property
    def since(self) -> float: ...

    @property
    def until(self) -> float: ...

    @property
    def size(self) -> int: ...

    def audit(self, key: str) -> tuple[str, ...]:
        """The command that reads what the copy was made of, whose reply ``agrees`` takes."""

    def agrees(self, found: Any) -> bool:
        """Whether the server's answer is what the copy shows."""


class Holding:
    """The place of one key.

    Attributes:
        copy: what was read; None where there is nothing to serve.
        floor: the highest version that this process has heard of; an older reply that began before that is late.
        seen: the highest version that somebody in this process was shown; no older copy is served.
        flying: changes of this process that are under way.
        excused: messages that were taken for those of changes under way, and left the copy in service.
        resets: how often it was heard that something changed, and not to which version; every reply that began before
            that is late.
        dropped: the copy that a message has just put an end to. It is not served; but where the message was about a
            change of this process, whose reply is on its way, that change is made on it.
        oversize: whether the last copy was too large to keep.
        weight: what it counts against the bound.
    """

    __slots__ = ("copy", "dropped", "excused", "floor", "flying", "oversize", "resets", "seen", "weight")

    def __init__(self, weight: int) -> None:
        self.copy: Any = None
        self.dropped: Any = None
        self.floor = 0
        self.seen = 0
        self.flying = 0
        self.excused = 0
        self.oversize = False
        self.resets = 0
        self.weight = weight

    def show(self, version: int) -> None:
        """Somebody in this process sees this version: from here on nobody is shown an older one."""
        if version > self.floor:
            self.oversize = False
        self.floor, self.seen = max(self.floor, version), max(self.seen, version)
        if self.copy is not None and self.copy.version < version:
            self.drop()

    def drop(self) -> None:
        """The copy is of the past."""
        self.dropped, self.copy = self.copy, None

    def reset(self) -> None:
        """The copy may be of the past, and so may everything that is on its way."""
        self.resets += 1
        self.copy = self.dropped = None
        self.oversize = False

    def hear(self, version: int) -> bool:
        """There is a later version than was heard of before. Returns whether that put an end to the copy.

        A message can be quicker than the answer to the change that it is about. As many as changes of this process are
        under way are taken for theirs: what they change is nobody's yet, and dropping the copy would have every read
        until the answer ask the server. Where one was another's after all, the copy goes when the answers have come.
        """
        self.floor = version
        self.oversize = False
        if self.copy is None or self.copy.version >= version:
            return False
        if self.excused < self.flying:
            self.excused += 1
            return False
        self.drop()
        return True


class Flight:
    """A change of this process that is under way to a record which has a place here.

    Attributes:
        sent: when it was sent, at the earliest.
        landed: whether it is over.
    """

    __slots__ = ("holding", "landed", "sent")

    def __init__(self, holding: Holding, sent: float) -> None:
        self.holding = holding
        self.sent = sent
        self.landed = False


class Fill:
    """A read that is on its way to fill a place.

    Attributes:
        since: when it began.
        patience: seconds that its reader waits for the reply.
    """

    __slots__ = ("floor", "holding", "key", "patience", "resets", "since")

    def __init__(self, key: str, holding: Holding, since: float) -> None:
        self.key = key
        self.patience = 0.0
        self.holding = holding
        self.floor = holding.floor
        self.resets = holding.resets
        self.since = since

    def serves(self, place: Holding | None, oldest: float, deadline: float) -> bool:
        """Whether what it brings will do for who asks now.

        If nothing was heard since it began, it brings whatever anybody here has written or seen.

        Args:
            place: of the key, by now; another one if everything was dropped meanwhile.
            oldest: it must have begun after that, or what it brings may be too old.
            deadline: when the asker must be told.
        """
        holding = self.holding
        untouched = place is holding and holding.floor == self.floor and holding.resets == self.resets
        return untouched and self.since > oldest and self.since + self.patience <= deadline
