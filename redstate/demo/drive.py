"""Plays a plan on the platform: so many conversations at a time, parallel calls where the plan has them.

The driver does not know which worker owns what, and repeats nothing: a call that its worker does not live to answer is
answered by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from redstate.demo.errors import DemoFailed
from redstate.demo.plan import ConversationPlan, PlannedCall
from redstate.testing import AgentGone, JoinedAgent, LocalPlatform, NoAgent, PlatformError, PlatformTimeout, ToolResult


@dataclass
class Tally:
    """What was seen while driving.

    Attributes:
        latencies: seconds of each answered call.
        delivered_twice: calls that were delivered to a second process.
        versions: the version that the last answer of each conversation named, by conversation id.
        observed: what went against the plan.
        finished: conversations that came to their end.
        served: the worker that answered last, of each conversation that is going on.
    """

    latencies: list[float] = field(default_factory=list)
    delivered_twice: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    observed: list[str] = field(default_factory=list)
    finished: int = 0
    served: dict[str, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """The latency, in milliseconds, that ``share`` of the calls did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


class Driver:
    """Drives conversations.

    Args:
        platform: where the workers' agents have joined.
        timeout: seconds that an answer may take.
        progress: called after each answer and each conversation.
    """

    def __init__(
        self,
        platform: LocalPlatform,
        timeout: float,
        progress: Callable[[Tally], None],
    ) -> None:
        self.tally = Tally()
        self._platform = platform
        self._timeout = timeout
        self._progress = progress

    async def drive(self, plans: Iterator[ConversationPlan], concurrency: int) -> None:
        """Hold all conversations, ``concurrency`` of them at a time.

        Raises:
            DemoFailed: a tool call failed or was not answered.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(concurrency):
                    tasks.create_task(self._converse_in_turn(plans))
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _converse_in_turn(self, plans: Iterator[ConversationPlan]) -> None:
        for plan in plans:
            try:
                await self._converse(plan)
            except PlatformError as error:
                raise DemoFailed(str(error)) from error
            self.tally.finished += 1
            del self.tally.served[plan.id]
            self._progress(self.tally)

    async def _converse(self, plan: ConversationPlan) -> None:
        await self._platform.start_conversation(plan.id, timeout=self._timeout)
        version = 0
        for step in plan.steps:
            results = await asyncio.gather(*[self._call(plan.id, call) for call in step])
            versions = sorted(result.result["version"] for result in results)
            if versions[0] <= version or len(set(versions)) < len(versions):
                self.tally.observed.append(f"{plan.id}: versions {versions} do not rise from {version}")
            version = versions[-1]
            for call, result in zip(step, results, strict=True):
                if call.again:
                    await self._deliver_again(plan.id, call, result.agent)
        self.tally.versions[plan.id] = version
        await self._platform.end_conversation(plan.id)

    async def _call(self, conversation_id: str, call: PlannedCall) -> ToolResult:
        result = await self._platform.call(
            conversation_id,
            call.tool,
            call.arguments,
            call_id=call.mark,
            tool_timeout=self._timeout,
            timeout=self._timeout,
        )
        self.tally.latencies.append(result.seconds)
        self.tally.served[conversation_id] = result.result["worker"]
        self._progress(self.tally)
        if call.answer is not None and Decimal(result.result["answer"]) != call.answer:
            answer = result.result["answer"]
            self.tally.observed.append(f"{conversation_id}: {call.tool} answered {answer}, not {call.answer}")
        return result

    async def _deliver_again(self, conversation_id: str, call: PlannedCall, answered: str) -> None:
        """Deliver an answered call to another process: it must answer the same, and change nothing."""
        before, until = len(self._platform.responses(call.mark)), asyncio.get_running_loop().time() + self._timeout
        while len(self._platform.responses(call.mark)) == before:
            if asyncio.get_running_loop().time() >= until:
                raise DemoFailed(f"{call.mark} was delivered to a second process and not answered by it")
            await self._platform.wait_for_agents(1, self._timeout)
            others = [agent for agent in self._platform.agents if agent.id != answered] or list(self._platform.agents)
            # That one may be killed before it can answer.
            with contextlib.suppress(AgentGone, NoAgent, PlatformTimeout):
                agent = others[self.tally.delivered_twice % len(others)]
                await self._platform.redeliver(call.mark, conversation_id=conversation_id, agent=agent)
                await self._answered_or_gone(call.mark, before + 1, agent)
        first, *_, second = self._platform.responses(call.mark)
        self.tally.delivered_twice += 1
        if _content(first) != _content(second):
            self.tally.observed.append(f"{conversation_id}: {call.mark} was answered differently the second time")

    async def _answered_or_gone(self, call_id: str, count: int, agent: JoinedAgent) -> None:
        waits = [
            asyncio.ensure_future(self._platform.wait_for_responses(call_id, count, self._timeout)),
            asyncio.ensure_future(self._platform.wait_for_departure(agent, self._timeout)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _content(response: Any) -> tuple[Any, ...]:
    return response.conversation_id, response.error, response.result


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
