"""Agents of the tests about owners; what they do is noted in the server, in one list for all processes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import redis
from conversimple import tool, tool_async

from redstate.conversimple import StatefulAgent
from redstate.errors import RedstateError

PREFIX = os.environ.get("REDSTATE_KEY_PREFIX", "")
NOTES, GATE = f"{PREFIX}:notes", f"{PREFIX}:gate"


class Owning(StatefulAgent):
    """Its tools say who ran them, under which token, and wait at a gate that the test opens."""

    agent_id = "owning"
    lease = float(os.environ.get("TEST_LEASE", "1.0"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.server = redis.Redis.from_url(os.environ["REDSTATE_URL"], decode_responses=True, socket_timeout=None)

    def note(self, event: str) -> None:
        self.server.rpush(NOTES, f"{event} {self.current_conversation_id} {os.getpid()}")

    def on_conversation_started(self, conversation_id: str) -> None:
        self.update_state(conversation_id, turns=0)
        self.note("started")

    def on_conversation_resumed(self, conversation_id: str) -> None:
        self.note("resumed")

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.note("ended")

    @tool("counts a turn")
    def turn(self) -> dict[str, Any]:
        return {"turns": self.get_state().increment("turns"), "pid": os.getpid(), "token": self.fencing_token}

    @tool("counts, waits in the first process that runs it, and counts again")
    def half(self) -> dict[str, Any]:
        conversation = self.conversation()
        first = conversation.state.increment("half")
        conversation.cart.add("sku", 1, "9.99")
        if self.server.incr(f"{PREFIX}:halves:{self.current_call_id}") == 1:
            self.note("half")
            self.server.blpop([GATE], timeout=60)
        try:
            second = conversation.state.increment("half")
        except RedstateError as error:
            self.note(type(error).__name__)
            raise
        return {"first": first, "second": second, "pid": os.getpid()}

    @tool_async("the same on the loop")
    async def half_async(self) -> dict[str, Any]:
        conversation = self.async_conversation()
        first = await conversation.state.increment("half")
        await conversation.cart.add("sku", 1, "9.99")
        if self.server.incr(f"{PREFIX}:halves:{self.current_call_id}") == 1:
            self.note("half")
            await asyncio.to_thread(self.server.blpop, [GATE], 60)
        try:
            second = await conversation.state.increment("half")
        except RedstateError as error:
            self.note(type(error).__name__)
            raise
        return {"first": first, "second": second, "pid": os.getpid()}

    @tool("ends its process")
    def deadly(self) -> None:
        self.get_state().increment("deaths")
        os._exit(1)

    @tool("waits at the gate, then writes")
    def late(self) -> str:
        self.note("waiting")
        self.server.blpop([GATE], timeout=60)
        try:
            self.conversation().state.set("late", True)
            self.get_store().customer("ada").update(late=True)
        except RedstateError as error:
            self.note(type(error).__name__)
            raise
        self.note("wrote")
        return "written"
