"""Log lines on stderr, for machines or for people."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from redstate.conversimple._binding import current_binding
from redstate.conversimple.runner.redaction import Redaction

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup(kind: str, level: str, redaction: Redaction, worker: int | None = None) -> None:
    """Log to stderr from now on.

    Args:
        kind: ``"json"`` or ``"text"``.
        level: the least level that is logged.
        redaction: what hides secrets.
        worker: the number of the worker that this process is; None in the parent.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if kind == "json" else TextFormatter)(redaction, worker))
    handler.setLevel(level)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    # Events are reported to the parent, whatever is logged.
    logging.getLogger("redstate").setLevel(min(logging.INFO, root.level))
    if not os.environ.get("CONVERSIMPLE_LOG_LEVEL"):
        # The SDK logs whole payloads at INFO.
        logging.getLogger("conversimple").setLevel(max(logging.WARNING, root.level))
    for chatty in ("asyncio", "websockets"):  # the latter logs whole messages at DEBUG
        logging.getLogger(chatty).setLevel(max(logging.INFO, root.level))
    logging.captureWarnings(True)


def extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the record was given as ``extra``, as far as it is JSON."""
    return {name: value for name, value in vars(record).items() if name not in _OWN and _is_json(value)}


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, (str, int)):
        return True
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def bound_ids() -> dict[str, str]:
    """Return the conversation and the call that the running code serves, as far as there are any."""
    binding = current_binding()
    ids = {} if binding is None else {"conversation_id": binding.conversation_id, "call_id": binding.call_id}
    return {name: value for name, value in ids.items() if value is not None}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, redaction: Redaction, worker: int | None) -> None:
        super().__init__()
        self._redaction = redaction
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "worker": self._worker,
            "pid": record.process,
            **bound_ids(),
            **extra_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(self._redaction.deep(line))


class TextFormatter(logging.Formatter):
    """One line for people, and the traceback below it."""

    def __init__(self, redaction: Redaction, worker: int | None) -> None:
        super().__init__()
        self._redaction = redaction
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line or lines."""
        who = "" if self._worker is None else f"worker {self._worker}  "
        ids = bound_ids() | {name: str(value) for name, value in extra_fields(record).items() if name.endswith("_id")}
        about = "".join(f"  {name}={value}" for name, value in ids.items())
        time = _time(record).astimezone().strftime("%H:%M:%S")
        text = f"{time}  {record.levelname:<7}  {who}{record.getMessage()}{about}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._redaction(text)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
