"""Tool calls as the platform asks for them and is answered, as plain data."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

# The SDK's own bounds for timeout_seconds.
DEFAULT_TIMEOUT = 30.0
SHORTEST_TIMEOUT = 0.1
LONGEST_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Request:
    """One tool call as the platform asked for it.

    Attributes:
        call_id, tool_name, arguments: as they came, which may be wrong.
        conversation_id: whose it is; None where nobody said.
        timeout: seconds that the call may take.
        arrived: when it came, by the clock of ``time.monotonic``.
        begun_us: when it began under an earlier owner, in microseconds of the server's clock; None where the platform
            itself has asked.
    """

    call_id: Any
    tool_name: Any
    arguments: Any
    conversation_id: str | None
    timeout: float
    arrived: float = field(default_factory=time.monotonic)
    begun_us: int | None = None

    @classmethod
    def of(cls, payload: dict[str, Any], own_conversation: str | None, begun_us: int | None = None) -> Request:
        """Read a request's payload; ``own_conversation`` counts only where it names none."""
        arguments = payload.get("arguments")
        return cls(
            call_id=payload.get("call_id"),
            tool_name=payload.get("tool_name"),
            arguments={} if arguments is None else arguments,
            conversation_id=payload.get("conversation_id") or own_conversation,
            timeout=_timeout(payload.get("timeout_seconds", DEFAULT_TIMEOUT)),
            begun_us=begun_us,
        )

    @property
    def key(self) -> str:
        """The call's name among those of all conversations: call ids repeat between them."""
        return json.dumps([self.conversation_id, self.call_id])

    @property
    def left(self) -> float:
        """Seconds until its time is up."""
        return self.arrived + self.timeout - time.monotonic()

    def as_of(self, now_us: int) -> Request:
        """The request with the time that it has left, if it began under an earlier owner; ``now_us`` is the server's
        clock.
        """
        if self.begun_us is None:
            return self
        return replace(self, arrived=time.monotonic() - (now_us - self.begun_us) / 1_000_000, begun_us=None)

    def payload(self) -> bytes:
        """What another process needs to serve it, as JSON."""
        payload = {
            "call_id": self.call_id,
            "tool_name": self.tool_name,
            "arguments": self.arguments,
            "conversation_id": self.conversation_id,
            "timeout_seconds": self.timeout,
        }
        return json.dumps(payload, separators=(",", ":")).encode()

    def answer(self, **content: Any) -> dict[str, Any]:
        """Return the payload that answers this request."""
        answer = {"call_id": self.call_id or "unknown", "conversation_id": self.conversation_id, **content}
        return {**answer, "tool_name": self.tool_name} if self.tool_name else answer

    def failure(self, message: str) -> Answer:
        """Return an answer that says that it failed."""
        error = {"message": message, "timestamp": datetime.now(UTC).isoformat()}
        return Answer("tool_call_error", self.answer(error=error))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform is sent: the event's name and its payload."""

    event: str
    payload: dict[str, Any]

    def record(self) -> bytes:
        """The answer as it is journalled."""
        return json.dumps([self.event, self.payload], separators=(",", ":")).encode()

    @classmethod
    def of_record(cls, recorded: bytes, request: Request) -> Answer:
        """The answer that was journalled."""
        if not recorded:
            return request.failure("The call was carried out, and its answer was too large to be kept")
        event, payload = json.loads(recorded)
        return cls(event, payload)


def _timeout(seconds: Any) -> float:
    try:
        return max(SHORTEST_TIMEOUT, min(float(seconds), LONGEST_TIMEOUT))
    except (TypeError, ValueError):
        return DEFAULT_TIMEOUT
