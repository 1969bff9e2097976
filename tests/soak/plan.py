"""How long and how hard a soak is: one shape for both runs, handed to the processes as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Plan:
    """A run of the soak.

    Attributes:
        goal: invalidations after which it stops.
        longest_run: seconds after which it fails instead.
        faults_apart: seconds between the faults of one process, on average.
        restarts_apart: seconds between restarts of the server, on average.
        write_pause: seconds that a writer rests after each write, on average.
        read_pause: seconds that a reader rests after each burst of reads.
        progress: seconds between lines that tell how far it is; 0 without any.
        seed: of all that is left to chance, as far as threads and servers let themselves be repeated.
        staleness: D, in seconds.
        conversations, customers: how many records are read and written.
        processes, threads, tasks: how many read, the last two in each process.
    """

    goal: int
    longest_run: float
    faults_apart: float
    restarts_apart: float
    write_pause: float
    read_pause: float
    progress: float = 0.0
    seed: int = 20_240
    staleness: float = 1.0
    conversations: int = 240
    customers: int = 60
    processes: int = 4
    threads: int = 3
    tasks: int = 9

    @property
    def keys(self) -> int:
        """How many records there are."""
        return self.conversations + self.customers

    def to_json(self) -> str:
        """As a process takes it."""
        return json.dumps(asdict(self))
