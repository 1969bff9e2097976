"""How long and how hard a soak of the archive is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from redstate.archive.conversation import EndedConversation

PREFIX = "rs"
LEASE = 2.0
IDLE = 1.5
TOMBSTONE = 1.5
TIMEOUT = 2.0
"""Seconds: of a sweeper's claim, until silence counts as a hang-up, of late changes' refusal, of a call."""


@dataclass(frozen=True)
class Plan:
    """A run of the soak.

    Attributes:
        seconds: for how long conversations begin.
        database: "sqlite" or "postgres".
        talkers, sweepers: how many processes of each there are at a time.
        conversations: how many a talker has at a time.
        customers: how many customers each talker's conversations have.
        talker_kills_apart: between how many seconds lie the kills of each talker, at least and at most.
        restarts_apart, outages_apart: likewise of the kills of the server, and of the database's absences.
        seed: of all that is left to chance, as far as processes let themselves be repeated.
    """

    seconds: float
    database: str = "sqlite"
    talkers: int = 2
    sweepers: int = 3
    conversations: int = 12
    customers: int = 400
    talker_kills_apart: tuple[float, float] = (4.0, 9.0)
    restarts_apart: tuple[float, float] = (12.0, 20.0)
    outages_apart: tuple[float, float] = (15.0, 25.0)
    seed: int = 60_606

    def to_json(self) -> str:
        """For the command line of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that ``to_json`` told."""
        return cls(**json.loads(text))


def merge(ended: EndedConversation, profile: dict[str, object]) -> dict[str, object]:
    """What goes into a customer's profile: a list of the ends that were merged, so that each counts."""
    merged = profile.get("merged", [])
    assert isinstance(merged, list) and ended.ended_at is not None
    again = "first" if ended.merged_at is None else "again"
    return {"merged": [*merged, f"{ended.conversation_id} {ended.ended_at.isoformat()} {again}"]}
