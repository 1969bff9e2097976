"""The platform's side: conversations with tool calls, some of which are delivered again."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time

from calls_soak.ledger import Call
from calls_soak.plan import MIXED, Plan
from calls_soak.world import World

from redstate.testing.platform_errors import AgentGone, NoAgent, PlatformError, PlatformTimeout, ToolCallFailed

_TOOL_TIMEOUT, _PATIENCE = 60.0, 90.0
_SOON = 0.03  # seconds within which a running call is redelivered
_LATER = 0.3  # seconds within which one that was answered is


class Load:
    """The calls of a run.

    Attributes:
        calls: all of them.
        customers: of the conversations.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self.calls: list[Call] = []
        self._platform = world.platform
        self._plan = plan
        self._numbers = itertools.count()
        self._began = time.monotonic()

    async def run(self) -> None:
        """Make all calls, and wait for their answers."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.conversations):
                group.create_task(self._converse())

    async def _converse(self) -> None:
        """One conversation after another, until there are enough calls."""
        wanted = -(-self._plan.calls // self._plan.calls_each)
        while (number := next(self._numbers)) < wanted:
            await self._conversation(number)

    async def _conversation(self, number: int) -> None:
        chance = random.Random(f"{self._plan.seed} {number}")
        conversation_id = f"c{number}"
        await self._start(conversation_id)
        left = [
            Call(conversation_id, f"call-{one}", chance.choice(MIXED), f"p{number // self._plan.sharing}")
            for one in range(self._plan.calls_each)
        ]
        while left:
            beside = 2 if len(left) > 1 and chance.random() < self._plan.pairs / 2 else 1
            batch, left = left[:beside], left[beside:]
            await asyncio.gather(*[self._call(call, chance) for call in batch])
        await self._platform.end_conversation(conversation_id)

    async def _start(self, conversation_id: str) -> None:
        while True:
            try:
                await self._platform.start_conversation(conversation_id, timeout=_PATIENCE)
                return
            except AgentGone:
                # An agent left while it was told: tell those that are there now.
                await asyncio.sleep(0.01)

    async def _call(self, call: Call, chance: random.Random) -> None:
        self.calls.append(call)
        self._tell()
        asking = asyncio.create_task(self._ask(call))
        kind = None
        if self._plan.broadcast:
            await self._redeliver_to_all(call, asking)
        elif chance.random() < self._plan.redelivered:
            kind = chance.choice(("running", "answered"))
        if kind == "running":
            await asyncio.wait({asking}, timeout=_SOON * chance.random())
            await self._redeliver(call, asking, chance)
        await asking
        if kind == "answered":
            await asyncio.sleep(_LATER * chance.random())
            await self._redeliver(call, asking, chance)

    async def _ask(self, call: Call) -> None:
        call.asked_at = time.time()
        arguments = {"mark": call.mark, "customer": call.customer}
        try:
            answer = await self._platform.call(
                call.conversation_id,
                call.tool,
                arguments,
                call_id=call.call_id,
                tool_timeout=_TOOL_TIMEOUT,
                timeout=_PATIENCE,
            )
            call.seconds, call.result = answer.seconds, answer.result
        except ToolCallFailed as failed:
            call.failure = failed.message
        except PlatformTimeout as late:
            call.failure = f"unanswered: {late}"

    async def _redeliver(self, call: Call, asking: asyncio.Task[None], chance: random.Random) -> None:
        """Send the call once more, to any agent."""
        while True:
            agents = self._platform.agents
            try:
                await self._platform.redeliver(
                    call.call_id, conversation_id=call.conversation_id, agent=chance.choice(agents) if agents else None
                )
                call.sent_again["answered" if asking.done() else "running"] += 1
                return
            except PlatformError:
                # It waits for its first agent yet, or the agent has just left.
                await asyncio.sleep(0.005)

    async def _redeliver_to_all(self, call: Call, asking: asyncio.Task[None]) -> None:
        """Send the call to all agents but the one that has it."""
        await asyncio.sleep(0)
        for agent in self._platform.agents:
            try:
                await self._platform.redeliver(call.call_id, conversation_id=call.conversation_id, agent=agent)
                call.sent_again["answered" if asking.done() else "running"] += 1
            except (NoAgent, AgentGone):
                continue

    def _tell(self) -> None:
        if self._plan.progress and len(self.calls) % self._plan.progress == 0:
            seconds = time.monotonic() - self._began
            print(f"{seconds:5.0f} s: {len(self.calls):7,} of {self._plan.calls:,} calls", file=sys.stderr, flush=True)
