"""The frames of the Phoenix protocol, as conversimple-sdk and its platform exchange them.

The client sends JSON objects, the server JSON arrays ``[join_ref, ref, topic, event, payload]``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on a topic, in either direction."""

    topic: str
    event: str
    payload: dict[str, Any] = field(default_factory=dict)
    join_ref: str | None = None
    ref: str | None = None

    def reply(self, status: Literal["ok", "error"], response: dict[str, Any] | None = None) -> Frame:
        """Return the server's reply to this frame."""
        payload = {"status": status, "response": response or {}}
        return Frame(self.topic, "phx_reply", payload, self.join_ref, self.ref)

    def encode(self) -> str:
        """Return the frame as the server sends it."""
        return json.dumps([self.join_ref, self.ref, self.topic, self.event, self.payload], allow_nan=False)


class MalformedFrame(Exception):
    """What a client sent is no frame; says what is wrong without quoting it."""


def decode(raw: str | bytes) -> Frame:
    """Read a client's message, an object or an array.

    Raises:
        MalformedFrame: it is no JSON, or not a frame.
    """
    try:
        message = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedFrame("it is no JSON") from None
    if isinstance(message, list) and len(message) == 5:
        message = dict(zip(("join_ref", "ref", "topic", "event", "payload"), message, strict=True))
    if not isinstance(message, dict):
        raise MalformedFrame(f"it is neither an object nor an array of five, but a {type(message).__name__}")
    return Frame(
        topic=_text(message, "topic"),
        event=_text(message, "event"),
        payload=_payload(message),
        join_ref=message.get("join_ref"),
        ref=message.get("ref"),
    )


def _refuse_constant(name: str) -> NoReturn:
    # Python writes NaN and Infinity, which no other JSON reader takes.
    raise ValueError(f"{name} is no JSON")


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedFrame(f"its {name} is a {type(value).__name__} where a text belongs")
    return value


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    payload = message.get("payload", {})
    if not isinstance(payload, dict):
        raise MalformedFrame(f"its payload is a {type(payload).__name__} where an object belongs")
    return payload
