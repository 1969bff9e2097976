"""What callers notice of a rolling restart."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import servers
from calls_soak.judge import judge
from calls_soak.ledger import Call, percentile
from calls_soak.world import PREFIX, World, running

from redstate.testing.platform_errors import PlatformError

CONVERSATIONS = 64
_LONG_SHARE, _LONG = 0.05, 0.3  # of the calls, and their seconds
_SHORT = (0.005, 0.05)  # seconds that the others take
_PATIENCE = 60.0


@dataclass
class Restarts:
    """What came of the restarts.

    Attributes:
        restarts: how many there were, of all workers each.
        seconds: how long they took.
        before, during: how long calls took that ended before the first one began, and calls that met one.
        failed: calls that were not answered well.
        problems: what went wrong, in words; "" in a good run.
    """

    restarts: int
    seconds: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    failed: int = 0
    problems: str = ""

    @property
    def numbers(self) -> dict[str, float]:
        """What is told of it."""
        numbers: dict[str, float] = {
            "rolling restarts": self.restarts,
            "seconds of the longest": round(max(self.seconds), 1),
            "calls before": len(self.before),
            "calls during": len(self.during),
            "failed calls": self.failed,
        }
        for name, seconds in (("before", self.before), ("during", self.during)):
            shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
            numbers |= {f"a call {name}, {one}": round(percentile(seconds, share), 4) for one, share in shares.items()}
        return numbers


class _Callers:
    """Conversations whose callers call again as soon as they have an answer."""

    def __init__(self, world: World, seed: int) -> None:
        self.calls: list[tuple[Call, float, float]] = []
        self._world = world
        self._seed = seed
        self._stop = asyncio.Event()
        self._answered = asyncio.Event()
        self._each = [0] * CONVERSATIONS
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin all conversations."""
        await asyncio.gather(*[self._world.platform.start_conversation(f"c{one}") for one in range(CONVERSATIONS)])
        self._tasks = [asyncio.create_task(self._converse(one)) for one in range(CONVERSATIONS)]

    async def another_each(self, count: int = 1) -> None:
        """Wait until each conversation has had so many further calls, which also begin from now on."""
        # The one that is under way may have begun before.
        wanted = [one + 1 + count for one in self._each]
        while any(has < wants for has, wants in zip(self._each, wanted, strict=True)):
            self._answered.clear()
            await self._answered.wait()

    async def end(self) -> None:
        """Have all of them finish their calls."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _converse(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        while not self._stop.is_set():
            seconds = _LONG if chance.random() < _LONG_SHARE else chance.uniform(*_SHORT)
            call = Call(f"c{number}", f"call-{self._each[number]}", "work", "nobody")
            began = time.monotonic()
            try:
                answer = await self._world.platform.call(
                    call.conversation_id,
                    "work",
                    {"mark": call.mark, "customer": call.customer, "seconds": seconds},
                    call_id=call.call_id,
                    tool_timeout=_PATIENCE,
                    timeout=_PATIENCE,
                )
                call.seconds, call.result = answer.seconds, answer.result
            except PlatformError as error:
                call.failure = f"{error}"
            self.calls.append((call, began, time.monotonic()))
            self._each[number] += 1
            self._answered.set()


def rolling_restarts(restarts: int, calls_before: int, folder: Path, seed: int = 20_240) -> Restarts:
    """Restart all workers in turn while callers call.

    Args:
        restarts: how often.
        calls_before: how many calls each conversation has before the first.
        folder: for the workers' log.
        seed: of what the calls take.
    """
    with servers.server() as server:
        return asyncio.run(_rolling_restarts(restarts, calls_before, folder, server, seed))


async def _rolling_restarts(
    restarts: int, calls_before: int, folder: Path, server: servers.RunningServer, seed: int
) -> Restarts:
    outcome, spans = Restarts(restarts), list[tuple[float, float]]()
    async with running(server, folder) as world:
        callers = _Callers(world, seed)
        await callers.start()
        await callers.another_each(calls_before)
        for _ in range(restarts):
            pids = set(world.supervisor.pids.values())
            began = time.monotonic()
            await world.supervisor.rolling_restart()
            spans.append((began, time.monotonic()))
            if pids & set(world.supervisor.pids.values()):
                outcome.problems += "a worker was not replaced\n"
            # Every conversation goes on.
            await callers.another_each(5)
        await callers.end()
        if ended := world.notes("ended"):
            outcome.problems += f"conversations ended: {ended[:8]}\n"
    outcome.seconds = [after - before for before, after in spans]
    _sort(outcome, callers.calls, spans)
    calls = [call for call, _, _ in callers.calls]
    outcome.failed = sum(call.failure is not None for call in calls)
    outcome.problems += judge(server.url, PREFIX, calls, world.platform.responses).told(world)
    return outcome


def _sort(outcome: Restarts, calls: Sequence[tuple[Call, float, float]], spans: Sequence[tuple[float, float]]) -> None:
    for call, began, ended in calls:
        if call.seconds is not None and ended < spans[0][0]:
            outcome.before.append(call.seconds)
        elif call.seconds is not None and any(began < after and ended > before for before, after in spans):
            outcome.during.append(call.seconds)
