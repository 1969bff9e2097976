"""Waiting for something to become true, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redstate.testing.platform_errors import PlatformTimeout


class Changes:
    """Wakes those who wait for a condition, whenever something happened that may have made it true."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}

    def happened(self) -> None:
        """Look at every condition that is waited for."""
        for waiter, condition in self._waiters.items():
            if not waiter.done() and condition():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], timeout: float, missing: Callable[[], str]) -> None:
        """Wait until ``condition`` holds.

        Args:
            condition: what is waited for; must not raise.
            timeout: seconds to wait at most.
            missing: says what is still missing, for the error.

        Raises:
            PlatformTimeout: it did not hold in time.
        """
        if condition():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = condition
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise PlatformTimeout(f"after {timeout:g} s: {missing()}") from None
        finally:
            del self._waiters[waiter]
