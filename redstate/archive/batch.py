"""What a sweeper has taken together, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from redstate.archive.interface import ArchiveRow
from redstate.calls.customer import Span
from redstate.calls.due import Claimed
from redstate.calls.lifetime import Look


@dataclass(slots=True)
class Batch:
    """Conversations that were taken together, and what becomes of each.

    Attributes:
        claimed: these.
        until: when the lease is half over, on this process's clock: nothing may be written to the archive after that.
        at_once: what the index is told of one that is to be looked at again: when it was claimed.
        words: by id, what the index is told.
        rows: by id, what is to be archived.
        owed: of the rows, those whose customers have not heard of it yet; and of which part of their lives.
        purges: by id, of which something may be in the archive that was erased or deleted: the look that told.
    """

    claimed: Claimed
    until: float
    at_once: str
    words: dict[str, str] = field(default_factory=dict)
    rows: dict[str, ArchiveRow] = field(default_factory=dict)
    owed: list[tuple[ArchiveRow, Span]] = field(default_factory=list)
    purges: dict[str, Look] = field(default_factory=dict)

    @property
    def claimed_us(self) -> int:
        """When it was taken, in microseconds of the server's clock."""
        return int(self.at_once)
