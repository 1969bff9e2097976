"""One way to call both colours, so that a test is written once: an ``AsyncStore`` that is driven like a ``Store``."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

from redstate import AsyncStore, Store

COLOURS = ["sync", "async"]
_HANDLES = (
    "AsyncTypedConversation",
    "AsyncTypedState",
    "AsyncConversation",
    "AsyncState",
    "AsyncCart",
    "AsyncCustomer",
    "AsyncSession",
    "AsyncCache",
    "AsyncWorkflowRun",
    "AsyncArchive",
    "AsyncKeptRecord",
)

# What they are given is called again where another writer came first, so it is no coroutine function in either colour.
_TAKES_SYNC = {"edit", "merge_conversation"}


class Driven:
    """An asyncio object whose coroutine methods run to their end on a loop of our own."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        return self._seen(getattr(self._target, name))

    def __call__(self, *args: Any, **named: Any) -> Any:
        if getattr(self._target, "__name__", "") not in _TAKES_SYNC:
            # A test passes functions of the blocking colour, which the library shall await here.
            args = tuple(map(_awaitable, args))
        return self._finished(self._target(*args, **named))

    def _seen(self, value: Any) -> Any:
        if type(value).__name__ in _HANDLES or inspect.isroutine(value):
            return Driven(value, self._runner)
        return value

    def _finished(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self._runner.run(value)
        elif inspect.isasyncgen(value):
            value = self._runner.run(_all(value))
        return self._seen(value)


async def _all(generator: Any) -> list[Any]:
    return [item async for item in generator]


def _awaitable(value: Any) -> Any:
    if not inspect.isroutine(value):
        return value

    @functools.wraps(value)
    async def awaited(*args: Any, **named: Any) -> Any:
        return value(*args, **named)

    return awaited


class Stores:
    """Opens stores of one colour and closes all of them at the end."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self._closers: list[Callable[[], Any]] = []

    def open(self, url: str, **options: Any) -> Any:
        """A ``Store``, or an ``AsyncStore`` that looks like one."""
        if self.colour == "sync":
            store = Store.from_url(url, **options)
            self._closers.append(store.close)
            return store
        runner = asyncio.Runner()
        driven = Driven(AsyncStore.from_url(url, **options), runner)
        self._closers += [runner.close, driven.close]
        return driven

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()
