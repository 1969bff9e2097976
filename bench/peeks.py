"""Reads of an AsyncStore that need no ``await``, for a driver that has no event loop of its own."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import redstate


class Peeks:
    """An AsyncStore whose loop runs only while something is awaited: ``peek`` needs none."""

    def __init__(self, url: str, conversation_id: str) -> None:
        self._runner = asyncio.Runner()
        self._store = redstate.AsyncStore.from_url(url)
        self._conversation = self._store.conversation(conversation_id)

    def peek(self, field: str, count: int) -> int:
        """Read a field ``count`` times. Where the copy has aged, it is fetched, as its users do."""
        conversation, uncached = self._conversation, redstate.UNCACHED
        for _ in range(count):
            if conversation.state.peek(field) is uncached:
                self._runner.run(conversation.state.get(field))
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._store.close())
        self._runner.close()
