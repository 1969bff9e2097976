"""Log lines on stderr, for machines or for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from redstate._redaction import Redaction

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Ids = Callable[[], Mapping[str, str]]


def no_ids() -> Mapping[str, str]:
    """For a process that serves no conversation."""
    return {}


def setup(kind: str, level: str, redaction: Redaction, worker: int | None = None, ids: Ids = no_ids) -> None:
    """Log to stderr from now on.

    Args:
        kind: ``"json"`` or ``"text"``.
        level: the least level that is logged.
        redaction: what hides secrets.
        worker: the number of the worker that this process is; None for any other.
        ids: what the running code is about, by name.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if kind == "json" else TextFormatter)(redaction, worker, ids))
    handler.setLevel(level)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
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


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, redaction: Redaction, worker: int | None, ids: Ids = no_ids) -> None:
        super().__init__()
        self._redaction = redaction
        self._worker = worker
        self._ids = ids

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "worker": self._worker,
            "pid": record.process,
            **self._ids(),
            **extra_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(self._redaction.deep(line))


class TextFormatter(logging.Formatter):
    """One line for people, and the traceback below it."""

    def __init__(self, redaction: Redaction, worker: int | None, ids: Ids = no_ids) -> None:
        super().__init__()
        self._redaction = redaction
        self._worker = worker
        self._ids = ids

    def format(self, record: logging.LogRecord) -> str:
        """Return the line or lines."""
        who = "" if self._worker is None else f"worker {self._worker}  "
        ids = dict(self._ids()) | {
            name: str(value) for name, value in extra_fields(record).items() if name.endswith("_id")
        }
        about = "".join(f"  {name}={value}" for name, value in ids.items())
        time = _time(record).astimezone().strftime("%H:%M:%S")
        text = f"{time}  {record.levelname:<7}  {who}{record.getMessage()}{about}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._redaction(text)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
