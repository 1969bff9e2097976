"""What a sweeper has done so far."""

from __future__ import annotations

from dataclasses import dataclass


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
