"""How the runner and its workers log: as any process of redstate, with the conversation and the call that is served."""

from __future__ import annotations

import logging
import os

from redstate import _logs
from redstate._logs import extra_fields
from redstate._redaction import Redaction
from redstate.conversimple._binding import current_binding

__all__ = ["JsonFormatter", "TextFormatter", "bound_ids", "extra_fields", "setup"]


def setup(kind: str, level: str, redaction: Redaction, worker: int | None = None) -> None:
    """Log to stderr from now on.

    Args:
        kind: ``"json"`` or ``"text"``.
        level: the least level that is logged.
        redaction: what hides secrets.
        worker: the number of the worker that this process is; None in the parent.
    """
    _logs.setup(kind, level, redaction, worker, bound_ids)
    root = logging.getLogger()
    # Events are reported to the parent, whatever is logged.
    logging.getLogger("redstate").setLevel(min(logging.INFO, root.level))
    if not os.environ.get("CONVERSIMPLE_LOG_LEVEL"):
        # The SDK logs whole payloads at INFO.
        logging.getLogger("conversimple").setLevel(max(logging.WARNING, root.level))
    # It logs whole messages at DEBUG.
    logging.getLogger("websockets").setLevel(max(logging.INFO, root.level))


def bound_ids() -> dict[str, str]:
    """Return the conversation and the call that the running code serves, as far as there are any."""
    binding = current_binding()
    ids = {} if binding is None else {"conversation_id": binding.conversation_id, "call_id": binding.call_id}
    return {name: value for name, value in ids.items() if value is not None}


class JsonFormatter(_logs.JsonFormatter):
    """One JSON object a line."""

    def __init__(self, redaction: Redaction, worker: int | None) -> None:
        super().__init__(redaction, worker, bound_ids)


class TextFormatter(_logs.TextFormatter):
    """One line for people, and the traceback below it."""

    def __init__(self, redaction: Redaction, worker: int | None) -> None:
        super().__init__(redaction, worker, bound_ids)
