"""The agent of the soak: tools of many shapes, each of whose effects carries the mark of its call."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any
from uuid import uuid4

import redis
from conversimple import tool, tool_async

from redstate.conversimple import StatefulAgent

PREFIX = os.environ["REDSTATE_KEY_PREFIX"]
ENDED, RESUMED, RUNS = f"{PREFIX}:ended", f"{PREFIX}:resumed", f"{PREFIX}:runs"

_SHORTEST, _LONGEST = 0.002, 0.03  # seconds away, in tools that wait for something else half-way


class Till(StatefulAgent):
    """Sells, and tells of hooks and of runs of calls on the server, past the proxy."""

    agent_id = "till"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.server = redis.Redis.from_url(os.environ["SOAK_SERVER"])

    def on_conversation_started(self, conversation_id: str) -> None:
        self.conversations[conversation_id] = {"log": {"entries": []}, "tally": {}}

    async def on_conversation_resumed(self, conversation_id: str) -> None:
        # The same clock in all processes of the machine.
        note = f"{conversation_id} {time.monotonic()} {os.getpid()}"
        await asyncio.to_thread(self.server.rpush, RESUMED, note)

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.server.rpush(ENDED, conversation_id)

    # One change

    @tool("adds to the cart")
    def cart(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        self.conversation().cart.add(f"cart {mark}", 1, "1.25")
        return self._answer(mark)

    @tool_async("counts")
    async def count(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        await self.async_conversation().state.increment(f"count {mark}")
        return self._answer(mark)

    @tool("notes something in a list that lies in another value")
    def note(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        self.get_state()["log"]["entries"].append(f"note {mark}")
        return self._answer(mark)

    @tool_async("makes a new value of the one that is there")
    async def tally(self, mark: str, customer: str) -> dict:
        self._begin(mark)

        def counted(value: dict[str, int]) -> dict[str, int]:
            return {**value, f"tally {mark}": value.get(f"tally {mark}", 0) + 1}

        await self.async_conversation().state.edit("tally", counted)
        return self._answer(mark)

    @tool("notes something, and fails")
    def complain(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        self.get_state().setdefault("complaints", []).append(f"complain {mark}")
        raise ValueError(f"{mark} {self.current_conversation_id} {self.current_call_id} {uuid4().hex}")

    # Several changes

    @tool_async("gives the customer points")
    async def points(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        profile = self.get_async_store().customer(customer)
        await profile.increment("points")
        await profile.increment(f"points {mark}")
        return self._answer(mark)

    @tool_async("goes on a trip, with its loop")
    async def trip(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        conversation, profile = self.async_conversation(), self.get_async_store().customer(customer)
        await conversation.state.append("trips", f"trip-out {mark}")
        await asyncio.sleep(_while())
        await conversation.cart.add(f"trip-cart {mark}")
        await asyncio.sleep(_while())
        # The same order in each run, so that each has the same name in each.
        await asyncio.gather(
            profile.increment("trips"),
            conversation.state.increment("stops", 3),
            conversation.state.increment(f"trip-step {mark}"),
        )
        await profile.increment(f"trip-profile {mark}")
        await asyncio.sleep(_while())
        await conversation.state.append("trips", f"trip-back {mark}")
        return self._answer(mark)

    @tool("runs an errand, in a thread")
    def errand(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        state = self.get_state()
        state[f"errand-out {mark}"] = state.get(f"errand-out {mark}", 0) + 1
        time.sleep(_while())
        self.conversation().cart.add(f"errand-cart {mark}", 1, "0.10", attributes={"size": "L"})
        time.sleep(_while())
        self.get_store().customer(customer).append("errands", f"errand-profile {mark}")
        time.sleep(_while())
        state["log"]["entries"].extend([f"errand-back {mark}"])
        return self._answer(mark)

    # Of the tests of take-overs and restarts

    @tool_async("works for some time")
    async def work(self, mark: str, customer: str, seconds: float) -> dict:
        self._begin(mark)
        state = self.async_conversation().state
        # Not all in one list, which would get too long.
        field = f"work{int(mark.rpartition('-')[2]) // 50}"
        await state.append(field, f"work-begun {mark}")
        await asyncio.sleep(seconds)
        await state.append(field, f"work-done {mark}")
        return self._answer(mark)

    @tool_async("tells where it runs")
    async def where(self, mark: str, customer: str) -> dict:
        self._begin(mark)
        await self.async_conversation().state.increment(f"where {mark}")
        return {**self._answer(mark), "pid": os.getpid()}

    def _begin(self, mark: str) -> None:
        """Count how often the call is begun."""
        self.server.hincrby(RUNS, mark, 1)

    def _answer(self, mark: str) -> dict[str, Any]:
        """What no other run of the call answers, or of another call."""
        return {
            "mark": mark,
            "conversation_id": self.current_conversation_id,
            "call_id": self.current_call_id,
            "run": uuid4().hex,
        }


def _while() -> float:
    """How long a tool is about other things, such as a payment: a time in which its worker can die."""
    return random.uniform(_SHORTEST, _LONGEST)
