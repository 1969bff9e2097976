"""The platform's frames, where the SDK does not read them itself."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


async def last_messages(websocket: ClientConnection) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """What came by a connection before it was closed, and was not read: events with their payloads.

    Nothing where it is still open, as that would wait for more.
    """
    if websocket.close_code is None:
        return
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield _message(await websocket.recv())


def _message(raw: str | bytes) -> tuple[str, dict[str, Any]]:
    """Return the event and the payload of a frame; ``""`` and ``{}`` where it has none."""
    with contextlib.suppress(ValueError):
        match json.loads(raw):
            case [_, _, _, str(event), dict(payload)]:
                return event, payload
    return "", {}
