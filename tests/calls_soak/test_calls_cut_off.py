"""An owner that is cut off from the server in the middle of a call: another one finishes the call, and no one else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from agent_serving import stores
from conversimple import tool_async

from redstate import _scripts
from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform
from redstate.testing.platform_errors import PlatformTimeout
from redstate.testing.proxy import FaultProxy

_CLAIM = _scripts.load("conversation_claim").evalsha[1]


class Desk(StatefulAgent):
    """Its tool can be kept waiting."""

    agent_id = "desk"
    lease = 1.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        self.is_asked = True

    async def _handle_platform_message(self, event: str, payload: dict[str, Any]) -> None:
        # So that nothing comes of what the platform sends again by itself.
        if self.is_asked or event != "tool_call_request":
            await super()._handle_platform_message(event, payload)

    @tool_async("counts, waits for the test, and says which run it was")
    async def count(self) -> dict:
        number = await self.async_conversation().state.increment("n")
        self.entered.set()
        await self.gate.wait()
        return {"number": number, "run": uuid4().hex}


@asynccontextmanager
async def two(url: str, prefix: str) -> AsyncIterator[tuple[LocalPlatform, list[Desk], list[FaultProxy]]]:
    """Two agents, each behind a proxy of its own; the first is told of the conversation "c1"."""
    with FaultProxy(url) as first, FaultProxy(url) as second:
        async with (
            LocalPlatform() as platform,
            stores(first.url, prefix) as first_stores,
            stores(second.url, prefix) as second_stores,
        ):
            agents = [Desk(api_key="key", platform_url=platform.url, **one) for one in (first_stores, second_stores)]
            for agent in agents:
                await agent.start()
            joined = await platform.wait_for_agents(2)
            await platform.start_conversation("c1", to=joined[:1])
            yield platform, agents, [first, second]
            first.heal()
            for agent in agents:
                await agent.stop()


def _takes_over(name: bytes, arguments: list[bytes]) -> bool:
    """Whether a request claims a conversation from an owner that is gone."""
    return name == b"EVALSHA" and arguments[0] == _CLAIM and arguments[5] != b""


def test_who_was_cut_off_sends_no_second_answer(url: str, prefix: str) -> None:
    async def scenario() -> None:
        async with two(url, prefix) as (platform, (cut_off, heir), (way, _)):
            heir.gate.set()
            call = asyncio.create_task(platform.call("c1", "count", call_id="call-1"))
            await cut_off.entered.wait()
            way.blackhole()
            cut_off.gate.set()
            answer = await call
            # It insists on its journal for five seconds.
            with contextlib.suppress(PlatformTimeout):
                await platform.wait_for_responses("call-1", 2, timeout=5.5)
            assert {one.result["run"] for one in platform.responses("call-1")} == {answer.result["run"]}

    asyncio.run(scenario())


def test_an_unfinished_call_is_run_by_the_heir_though_the_answer_to_its_claim_was_lost(url: str, prefix: str) -> None:
    _assert_heir_runs_it(url, prefix, lambda way: way.swallow_replies(matching=_takes_over))


def test_an_unfinished_call_is_run_by_the_heir_though_nobody_asks_for_it_again(url: str, prefix: str) -> None:
    _assert_heir_runs_it(url, prefix, lambda way: None)


def _assert_heir_runs_it(url: str, prefix: str, spoil: Callable[[FaultProxy], None]) -> None:
    async def scenario() -> None:
        async with two(url, prefix) as (platform, (cut_off, heir), (way, heirs_way)):
            heir.gate.set()
            heir.is_asked = False
            spoil(heirs_way)
            call = asyncio.create_task(platform.call("c1", "count", call_id="call-1", timeout=6))
            await cut_off.entered.wait()
            way.blackhole()
            assert (await call).result["number"] == 1

    asyncio.run(scenario())
