"""Callers that give up in the middle of a call: no reply reaches another caller, no connection is spoilt."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redstate import AsyncStore
from redstate.testing.proxy import FaultProxy

CANCELLED = 20_000
CALLERS = 128
INTERRUPTED = Path(__file__).with_name("interrupted_worker.py")


class Caller:
    """One caller with a conversation of its own: whatever it is answered must be about that conversation."""

    def __init__(self, store: AsyncStore, number: int, chance: random.Random) -> None:
        self.conversation = store.conversation(f"caller-{number}")
        self.name = f"owner-{number}"
        self.chance = chance
        self.base = number * 1_000_000_000
        self.attempted = self.acknowledged = self.cancelled = 0

    async def begin(self) -> None:
        await self.conversation.state.update(owner=self.name, n=self.base)

    async def patient(self, call: Any) -> Any:
        """The call's result, or None if it took longer than this caller waits."""
        try:
            return await asyncio.wait_for(call, self.chance.uniform(0.0002, 0.002))
        except TimeoutError:
            self.cancelled += 1
            return None

    async def turn(self) -> None:
        state = self.conversation.state
        self.attempted += 1
        value = await self.patient(state.increment("n"))
        if value is not None:
            self.acknowledged += 1
            assert self.base + self.acknowledged <= value <= self.base + self.attempted
        assert await self.patient(state.get("owner")) in {None, self.name}
        assert await self.patient(self.conversation.cart.add(self.name, 1)) is not False

    async def settled(self) -> None:
        """After the storm: still its own conversation, and each increment counted at most once."""
        value = await self.conversation.state.get("n") - self.base
        assert self.acknowledged <= value <= self.attempted
        assert await self.conversation.state.get("owner") == self.name
        assert await self.conversation.state.increment("n") == self.base + value + 1
        assert set(await self.conversation.cart.lines()) <= {self.name}


async def storm(url: str, prefix: str, cancelled: int) -> int:
    chance = random.Random(11)
    async with AsyncStore.from_url(url, key_prefix=prefix, timeout=60.0) as store:
        callers = [Caller(store, number, chance) for number in range(CALLERS)]
        await asyncio.gather(*(caller.begin() for caller in callers))

        async def keep_on(caller: Caller) -> None:
            while sum(other.cancelled for other in callers) < cancelled:
                await caller.turn()

        await asyncio.gather(*map(keep_on, callers))
        await asyncio.gather(*(caller.settled() for caller in callers))
        return sum(caller.cancelled for caller in callers)


def test_no_reply_reaches_a_wrong_caller_in_twenty_thousand_cancelled_calls(proxy: FaultProxy, prefix: str) -> None:
    proxy.delay((0.0, 0.0001))
    assert asyncio.run(asyncio.wait_for(storm(proxy.url, prefix, CANCELLED), 100)) >= CANCELLED
    assert proxy.stats.connections == 2  # one for the calls, however many were cancelled, and one that listens


def test_calls_cancelled_while_connections_break_stay_with_their_callers(proxy: FaultProxy, prefix: str) -> None:
    proxy.swallow_fraction(0.01, seed=3)
    assert asyncio.run(asyncio.wait_for(storm(proxy.url, prefix, 2_000), 100)) >= 2_000
    assert proxy.stats.swallowed > 0


def test_a_cancelled_call_leaves_the_connection_to_the_next(proxy: FaultProxy, prefix: str) -> None:
    async def cancel_one() -> None:
        async with AsyncStore.from_url(proxy.url, key_prefix=prefix, timeout=20.0) as store:
            one, two = store.conversation("one").state, store.conversation("two").state
            await one.set("name", "one")
            await two.set("name", "two")
            with proxy.hold_replies(command="HMGET"):
                given_up = asyncio.create_task(one.get("name"))
                await asyncio.to_thread(proxy.wait_for, held=1)
                waiting = asyncio.create_task(two.get("name"))
                given_up.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await given_up
            assert await waiting == "two"

    asyncio.run(cancel_one())


def test_interrupts_in_the_middle_of_blocking_calls_mispair_nothing(server: Any, prefix: str) -> None:
    worker = subprocess.run(
        [sys.executable, str(INTERRUPTED), server.url, prefix], capture_output=True, text=True, timeout=60, check=False
    )
    assert worker.returncode == 0, worker.stderr[-2000:]
    interrupted, attempted, acknowledged, stored = map(int, worker.stdout.split())
    assert interrupted >= 300
    assert acknowledged <= stored <= attempted
