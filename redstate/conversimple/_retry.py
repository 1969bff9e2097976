"""Asking a store again that failed in a way that can pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redstate.errors import ConflictError, OutcomeUnknown, StoreError

T = TypeVar("T")

# What may be different when it is tried again.
PASSING = (StoreError, OutcomeUnknown, ConflictError)

# How long to wait before the next attempt, in seconds.
_FIRST, _LONGEST = 0.01, 0.5


async def insist(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Await ``attempt()``, again and again for so many seconds, with pauses that grow.

    Raises:
        RedstateError: the last failure, or the first that will not pass.
    """
    clock, pause = asyncio.get_running_loop().time, _FIRST
    until = clock() + seconds
    while True:
        try:
            return await attempt()
        except PASSING:
            if clock() + pause >= until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST)
