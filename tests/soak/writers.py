"""What writes in a process of the soak: one for threads, one for tasks.

The hasty ones give up on a call soon, do not know then whether it ran, and repeat it by its id until they do.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from soak.readers import chosen, states_of

from redstate import AsyncStore, errors

if TYPE_CHECKING:
    from soak.worker import Process

_HASTE = 0.25  # seconds
_LOOKS_SHARE = 0.3  # of the writes, after which the writer reads what it wrote
_NOT_SENT = (errors.ServerUnavailable, errors.CallTimeout, errors.ServerLoading)


class _Base:
    """What the two share.

    Attributes:
        acknowledged: its writes.
        unknown: how often an outcome was unknown.
    """

    def __init__(self, process: Process, store: Any, name: str) -> None:
        self.acknowledged = 0
        self.unknown = 0
        self._process = process
        self._judge = process.judge(name)
        self._chance = random.Random(process.seed(name))
        self._hasty = name.startswith("hasty")
        self._states = states_of(store, process, **({"timeout": _HASTE} if self._hasty else {}))
        self._patient = states_of(store, process)

    def _pause(self) -> float:
        return self._process.plan.write_pause * 2 * self._chance.random()

    def _wrote(self, key: int, value: int) -> bool:
        """The value is acknowledged. Returns whether to look at it."""
        process = self._process
        self.acknowledged += 1
        if not process.ledger.acknowledge(key, value):
            process.failures.append(f"the value {value} of record {key} was given to two writers")
        process.known.raise_to(process.known.own, key, value)
        return self._chance.random() < _LOOKS_SHARE

    def _failed(self, error: errors.RedstateError, op_id: str | None) -> str | None:
        """What to repeat the call by after an error that says that it may be repeated."""
        if isinstance(error, errors.OutcomeUnknown):
            self.unknown += 1
            return error.op_id
        if not self._hasty:
            raise error
        return op_id


class Writer(_Base):
    """A thread that writes."""

    def __init__(self, process: Process, name: str) -> None:
        super().__init__(process, process.store, name)

    def run(self) -> None:
        """Write until the process stops."""
        while not self._process.stopping.is_set():
            key = chosen(self._chance, len(self._states))
            if self._wrote(key, self._increment(self._states[key])):
                begun = self._judge.begin(key)
                self._judge.end(key, int(self._patient[key]["n"]), begun)
            self._process.stopping.wait(self._pause())

    def _increment(self, state: Any) -> int:
        op_id = None
        while True:
            try:
                return int(state.increment("n", op_id=op_id))
            except (errors.OutcomeUnknown, *_NOT_SENT) as error:
                op_id = self._failed(error, op_id)


class AsyncWriter(_Base):
    """A task that does the same."""

    def __init__(self, process: Process, store: AsyncStore, name: str) -> None:
        super().__init__(process, store, name)

    async def run(self) -> None:
        """Write until the process stops."""
        while not self._process.stopping.is_set():
            key = chosen(self._chance, len(self._states))
            if self._wrote(key, await self._increment(self._states[key])):
                begun = self._judge.begin(key)
                self._judge.end(key, int(await self._patient[key].get("n")), begun)
            await asyncio.sleep(self._pause())

    async def _increment(self, state: Any) -> int:
        op_id = None
        while True:
            try:
                return int(await state.increment("n", op_id=op_id))
            except (errors.OutcomeUnknown, *_NOT_SENT) as error:
                op_id = self._failed(error, op_id)
