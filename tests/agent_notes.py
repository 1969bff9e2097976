"""What agents of all processes noted on the server, for tests that wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import redis


class Notes:
    """The notes under a test's prefix, in order: event, conversation, process."""

    def __init__(self, url: str, prefix: str) -> None:
        self._server = redis.Redis.from_url(url, decode_responses=True)
        self._prefix = prefix

    def all(self) -> list[tuple[str, str, int]]:
        notes = [note.split() for note in self._server.lrange(f"{self._prefix}:notes", 0, -1)]
        return [(event, conversation_id, int(process)) for event, conversation_id, process in notes]

    def events(self) -> list[str]:
        return [event for event, _, _ in self.all()]

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((event, conversation_id) for event, conversation_id, _ in self.all())

    def open_gate(self) -> None:
        self._server.rpush(f"{self._prefix}:gate", "go")

    async def until(self, event: str, conversation_id: str | None = None, count: int = 1) -> int:
        """Wait until it is noted as often as that; returns the last process of these."""
        async with asyncio.timeout(30):
            while True:
                noted = [
                    process
                    for seen, where, process in await asyncio.to_thread(self.all)
                    if seen == event and conversation_id in (None, where)
                ]
                if len(noted) >= count:
                    return noted[count - 1]

    def close(self) -> None:
        self._server.close()
