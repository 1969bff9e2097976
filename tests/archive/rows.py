"""Rows for the archive's tests."""

from __future__ import annotations

from typing import Any

from redstate.archive import ArchiveRow

BEGAN = 1_767_322_800_000_000  # 2026-01-02 03:00:00 UTC


def row(conversation_id: str, version: int = 1, *, life: int = 0, **changes: Any) -> ArchiveRow:
    """A row; ``version`` counts in microseconds from when it began, ``life`` in seconds."""
    began = BEGAN + life * 1_000_000
    values: dict[str, Any] = {
        "customer_id": None,
        "version": began + version,
        "updated_us": began + version,
        "ended_us": began + version,
        "reason": "ended",
        "schema_version": None,
        "state": f'{{"n":{version}}}',
        "cart": None,
        "workflow": None,
        "session": None,
        "record": None,
    }
    return ArchiveRow(conversation_id=conversation_id, created_us=began, **(values | changes))
