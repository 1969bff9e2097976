"""What a sweeper has taken together, and what it has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from redstate.archive.interface import ArchiveRow
from redstate.calls.customer import Span
from redstate.calls.due import Claimed
from redstate.calls.lifetime import Look


@dataclass(slots=True)
class SweepFigures:
    """What a sweeper has done since it was made.

    Attributes:
        looked_at: conversations that were due.
        archived: of these, those that left for the archive; one whose removal was not answered is not counted, so this
            and ``abandoned`` can be too low.
        abandoned: of the archived, those that nobody had ended.
        erased: those that had been erased or deleted, and of which the archive is clear for good.
        corrupt: looks at what cannot be read or redstate did not write; it stays where it is.
        failures: times that the server or the database could not do it.
    """

    looked_at: int = 0
    archived: int = 0
    abandoned: int = 0
    erased: int = 0
    corrupt: int = 0
    failures: int = 0


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
