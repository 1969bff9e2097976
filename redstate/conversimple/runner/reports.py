"""What a worker tells its parent: one JSON line a time, through a pipe of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
from typing import Any

from redstate.conversimple.runner.logs import bound_ids, extra_fields
from redstate.conversimple.runner.redaction import Redaction

# Writes of that size to a pipe are whole or not at all, whichever thread makes them.
_LONGEST = select.PIPE_BUF
_LONGEST_MESSAGE = 500


class Reports:
    """The way to the parent. A report that does not fit, as the parent does not read, is dropped: nothing waits."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        # What a tool starts must not hold the pipe open.
        os.set_inheritable(fd, False)
        self._fd = fd

    def send(self, kind: str, **fields: Any) -> None:
        """Tell the parent; ``fields`` are plain JSON."""
        line = json.dumps({"type": kind, **fields}).encode() + b"\n"
        if len(line) <= _LONGEST:
            # BlockingIOError: the pipe is full; BrokenPipeError: the parent is gone.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._fd, line)

    def agents(self, kind: str, names: list[str]) -> None:
        """Tell the agents' names; of more than fit into a report, the first."""
        fitting = len(names)
        while len(json.dumps(names[:fitting])) > _LONGEST - 100:
            fitting //= 2
        self.send(kind, agents=names[:fitting])

    def failed(self, message: str, next_step: str, status: int) -> int:
        """Tell that the worker cannot start; returns the exit status."""
        self.send("failed", message=message[: _LONGEST_MESSAGE * 2], next_step=next_step, status=status)
        return status


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
            message = self._redaction(record.getMessage())[:_LONGEST_MESSAGE]
            fields = {"level": record.levelname, "message": message, **bound_ids()}
            fields |= self._redaction.deep(extra_fields(record))
            fields.pop("kind", None)
            fields.pop("type", None)
            self._reports.send("event", **fields)
