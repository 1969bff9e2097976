"""One way to call both colours, so that a test is written once: an ``AsyncStore`` that is driven like a ``Store``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from redstate import AsyncStore, Store

COLOURS = ["sync", "async"]
_HANDLES = ("AsyncConversation", "AsyncState", "AsyncCart")


class Driven:
    """An asyncio object whose coroutine methods run to their end on a loop of our own."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        return self._seen(getattr(self._target, name))

    def _seen(self, value: Any) -> Any:
        if type(value).__name__ in _HANDLES:
            return Driven(value, self._runner)
        if inspect.ismethod(value):
            return lambda *args, **named: self._finished(value(*args, **named))
        return value

    def _finished(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self._runner.run(value)
        return self._seen(value)


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
