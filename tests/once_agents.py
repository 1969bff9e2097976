"""Agents of the tests about hooks that run once; what they do is noted in the server, in one list for all processes."""

from __future__ import annotations

import os
from typing import Any

import redis
from conversimple import tool

from redstate.conversimple import StatefulAgent

PREFIX = os.environ.get("REDSTATE_KEY_PREFIX", "")
NOTES, GATE, RUNS = f"{PREFIX}:notes", f"{PREFIX}:gate", f"{PREFIX}:runs"


class Noting(StatefulAgent):
    """Notes each hook that runs, and where."""

    agent_id = "noting"

    def __init__(self, **options: Any) -> None:
        self.conversations = {}
        super().__init__(**options)
        # Without a timeout of its own, which is shorter than the waits at the gate.
        self.server = redis.Redis.from_url(os.environ["REDSTATE_URL"], decode_responses=True, socket_timeout=None)

    def note(self, event: str) -> None:
        self.server.rpush(NOTES, f"{event} {self.current_conversation_id} {os.getpid()}")

    def on_conversation_started(self, conversation_id: str) -> None:
        self.conversations[conversation_id] = {"turns": 0, "customer_id": "ada"}
        self.note("started")

    def on_conversation_resumed(self, conversation_id: str) -> None:
        self.note("resumed")

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.note("ended")

    @tool("counts a turn")
    def turn(self) -> int:
        return self.get_state().increment("turns")


class Gated(Noting):
    """Its started hook waits for the test in conversations whose id begins with "slow"."""

    def on_conversation_started(self, conversation_id: str) -> None:
        self.note("starting")
        if conversation_id.startswith("slow"):
            assert self.server.blpop([GATE], timeout=30)
        super().on_conversation_started(conversation_id)


class Dying(Noting):
    """Its started hook ends in the second process only, long before it would lose the hook for its lease."""

    hook_lease = 60.0

    def on_conversation_started(self, conversation_id: str) -> None:
        first = self.server.incr(RUNS) == 1
        # Whoever reads this may kill the process at once.
        self.note("starting")
        if first:
            self.server.blpop([GATE], timeout=60)
        super().on_conversation_started(conversation_id)


class CleaningUp(Noting):
    """Takes the conversation out of the store when it ends."""

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.note("ended")
        self.conversations.pop(conversation_id)
