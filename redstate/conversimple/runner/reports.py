"""What a worker tells its parent beside its figures: its agents, and what is worth an event."""

from __future__ import annotations

import json
import logging

from redstate import _child
from redstate._child import LONGEST_MESSAGE, LONGEST_REPORT
from redstate._redaction import Redaction
from redstate.conversimple.runner.logs import bound_ids, extra_fields


class Reports(_child.Reports):
    """The way of a worker to its parent."""

    def agents(self, kind: str, names: list[str]) -> None:
        """Tell the agents' names; of more than fit into a report, the first."""
        fitting = len(names)
        while len(json.dumps(names[:fitting])) > LONGEST_REPORT - 100:
            fitting //= 2
        self.send(kind, agents=names[:fitting])


class EventForwarder(logging.Handler):
    """Forwards the log records that carry an ``event``."""

    def __init__(self, reports: Reports, redaction: Redaction) -> None:
        super().__init__()
        self._reports = reports
        self._redaction = redaction

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's extra fields, with the conversation and the call that it was logged in."""
        event = getattr(record, "event", None)
        if isinstance(event, str):
            message = self._redaction(record.getMessage())[:LONGEST_MESSAGE]
            fields = {"level": record.levelname, "message": message, **bound_ids()}
            fields |= self._redaction.deep(extra_fields(record))
            fields.pop("kind", None)
            fields.pop("type", None)
            self._reports.send("event", **fields)
