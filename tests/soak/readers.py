"""What reads in a process of the soak: one for threads, one for tasks."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from redstate import UNCACHED, AsyncStore, Store

if TYPE_CHECKING:
    from soak.worker import Process

_BURST = 10
_FRESH_SHARE, _PEEK_SHARE = 0.02, 0.1
_CLEAR_CHANCE, _FORGET_CHANCE = 1 / 50_000, 1 / 500  # for each read


def states_of(store: Any, process: Process, **options: float) -> list[Any]:
    """The states of all records, conversations first."""
    plan = process.plan
    conversations = [store.conversation(f"c{number}", **options).state for number in range(plan.conversations)]
    return conversations + [store.customer(f"p{number}", **options).state for number in range(plan.customers)]


def chosen(chance: random.Random, keys: int) -> int:
    """One of the records: half of the choices fall on an eighth of them, and one in seven on the first."""
    return int(chance.random() ** 3 * keys)


class Reader:
    """A thread that reads in bursts."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._judge = process.judge(name)
        self._chance = random.Random(process.seed(name))
        self._store: Store = process.store
        self._states = states_of(self._store, process)

    def run(self) -> None:
        """Read until the process stops."""
        process = self._process
        while not process.stopping.is_set():
            for _ in range(_BURST):
                self._read()
            process.stopping.wait(process.plan.read_pause * 2 * self._chance.random())

    def _read(self) -> None:
        draw = self._chance.random()
        if draw < _CLEAR_CHANCE:
            self._store.nearcache.clear()
        key = chosen(self._chance, len(self._states))
        state = self._states[key]
        if 0.5 <= draw < 0.5 + _FORGET_CHANCE and key < self._process.plan.conversations:
            self._store.nearcache.forget(f"c{key}")
        fresh = draw > 1 - _FRESH_SHARE
        begun = self._judge.begin(key)
        if fresh:
            value = state.get("n", fresh=True)
        elif draw < _PEEK_SHARE:
            value = state.peek("n")
        elif draw < 0.5:
            value = state["n"]
        else:
            value = state.get("n")
        if value is not UNCACHED:
            self._judge.end(key, int(value), begun, fresh=fresh)


class AsyncReader:
    """A task that does the same."""

    def __init__(self, process: Process, store: AsyncStore, name: str) -> None:
        self._process = process
        self._judge = process.judge(name)
        self._chance = random.Random(process.seed(name))
        self._states = states_of(store, process)

    async def run(self) -> None:
        """Read until the process stops."""
        process = self._process
        while not process.stopping.is_set():
            for _ in range(_BURST):
                await self._read()
            await asyncio.sleep(process.plan.read_pause * 2 * self._chance.random())

    async def _read(self) -> None:
        draw = self._chance.random()
        key = chosen(self._chance, len(self._states))
        state = self._states[key]
        fresh = draw > 1 - _FRESH_SHARE
        begun = self._judge.begin(key)
        value = state.peek("n") if draw < _PEEK_SHARE else await state.get("n", fresh=fresh)
        if value is not UNCACHED:
            self._judge.end(key, int(value), begun, fresh=fresh)
