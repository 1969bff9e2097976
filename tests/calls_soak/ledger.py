"""What was asked for: every call of a run, and what its caller was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One tool call.

    Attributes:
        conversation_id, call_id, tool, customer: as it was sent. Ids of calls repeat between conversations.
        asked_at: by the clock of ``time.time``, as the workers' log has it.
        seconds: until the answer; None without one.
        failure: why there is none, or what the answer said was wrong.
        result: what the tool returned.
        sent_again: how often it was redelivered while it ran, and after it was answered.
    """

    conversation_id: str
    call_id: str
    tool: str
    customer: str
    asked_at: float = 0.0
    seconds: float | None = None
    failure: str | None = None
    result: Any = None
    sent_again: dict[str, int] = field(default_factory=lambda: {"running": 0, "answered": 0})

    @property
    def mark(self) -> str:
        """What its effects carry."""
        return f"{self.conversation_id}.{self.call_id}"


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
