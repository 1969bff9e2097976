"""What observers of the workers are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """Something that happened to a worker, or that it reported.

    Attributes:
        kind: one of

            - ``"started"``: its process runs; ``replacement`` tells whether beside one of the same number.
            - ``"ready"``: it serves; ``agents`` are their names.
            - ``"report"``, once a second: ``statistics`` (the fields of ``AgentStatistics``, summed over its agents),
              ``connected`` (how many agents are connected to the platform) and ``loop_lag`` (seconds by which its
              event loop was late at worst since the last report).
            - ``"event"``: a log record with an ``event``: that and the record's other extra fields.
            - ``"failed"``: it cannot start; ``message``, ``next_step``, ``status``.
            - ``"stalled"``: it is killed, as it did not report (or get ready) for ``seconds``.
            - ``"ended"``: ``status`` as of ``subprocess``, ``reason`` (``"stopped"``, ``"replaced"``, ``"failed"``,
              ``"stalled"`` or ``"crashed"``), ``killed``.
            - ``"restarting"``: another one is started in ``pause`` seconds.

            Of the sweeper beside the workers come ``"sweeper_started"`` and so on, of the same kinds but ``"event"``.
            Its ``"sweeper_report"`` has ``figures`` (the fields of ``SweepFigures``) and ``backlog`` (those of
            ``Backlog``; None where that is not known now).
        worker: its number, from 1; 0 for the sweeper.
        pid: its process id.
        data: the rest, as named above.
    """

    kind: str
    worker: int
    pid: int
    data: Mapping[str, Any]


Observer = Callable[[WorkerEvent], None]
