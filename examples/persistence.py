"""Keeping conversations: for a day in Redis, for good in an SQL database.

Run it: python examples/persistence.py      It needs SQLAlchemy: pip install "redstate[archive]"
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _serve import Example, Phone, until
from conversimple import tool

import redstate.archive
from redstate import AsyncStore
from redstate.conversimple import StatefulAgent


class Support(StatefulAgent):
    """Takes up an earlier call where it was left."""

    agent_id = "support"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.archive = redstate.archive.SqlArchive(os.environ["CONVERSATIONS_DB"])  # all processes open the same file

    def on_conversation_started(self, conversation_id: str) -> None:
        self.conversations[conversation_id] = {"problem": None, "tried": [], "opened_at": datetime.now(UTC)}

    def on_conversation_ended(self, conversation_id: str) -> None:
        self.persist_conversation(conversation_id, self.load_state(conversation_id))

    def persist_conversation(self, conversation_id: str, state: Mapping[str, Any]) -> None:
        super().persist_conversation(conversation_id, state)  # a day in Redis, from now on
        self.archive.save(conversation_id, state, customer_id="ada")

    @tool("Note the problem")
    def note_problem(self, problem: str) -> dict[str, Any]:
        self.get_state()["problem"] = problem
        return {"message": f"I note: {problem}."}

    @tool("Note what was tried")
    def note_attempt(self, what: str) -> dict[str, Any]:
        tried = self.get_state()["tried"]
        tried.append(what)
        return {"message": f"Tried so far: {', '.join(tried)}."}

    @tool("Take up an earlier call")
    def take_up(self, earlier: str) -> dict[str, Any]:
        state = self.load_state(earlier) or self.archive.load(earlier)
        if state is None:
            return {"error": "There is no such call"}
        self.get_state().update(problem=state["problem"], tried=state["tried"])
        return {"message": f"Then it was: {state['problem']}; tried: {', '.join(state['tried'])}."}


async def call_2_is_archived() -> bool:
    with redstate.archive.SqlArchive(os.environ["CONVERSATIONS_DB"]) as archive:
        return await asyncio.to_thread(archive.load, "call-2") is not None


async def script(phone: Phone) -> None:
    first = await phone.call("call-1")
    await first.say("My kettle stays cold.", "note_problem", problem="a cold kettle")
    await first.say("I plugged it in.", "note_attempt", what="the plug")
    second = await phone.call("call-2")
    await second.say("I called before, call 1.", "take_up", earlier="call-1")  # found in Redis
    await second.say("And what of call 7?", "take_up", earlier="call-7")
    await second.say("Now I shook it.", "note_attempt", what="shaking")
    await first.hang_up()
    await second.hang_up()
    await until(call_2_is_archived)
    print(f"{'':>8}  (days pass; Redis has forgotten call 2)")
    await second.record.delete()
    third = await phone.call("call-3")
    await third.say("Where were we in call 2?", "take_up", earlier="call-2")  # found in the archive
    await third.hang_up()


async def afterwards(store: AsyncStore) -> None:
    hours = (await store.conversation("call-3").ttl() or 0) / 3600
    print(f"Redis keeps call-3 for {hours:.0f} more hours.")
    with redstate.archive.SqlArchive(os.environ["CONVERSATIONS_DB"]) as archive:
        for one in sorted(archive.conversations_of("ada"), key=lambda one: one.conversation_id):
            state = archive.load(one.conversation_id) or {}
            opened = type(state["opened_at"]).__name__
            print(f"The archive keeps {one.conversation_id}: {', '.join(state['tried'])}; opened_at is a {opened}.")


EXAMPLE = Example(Support, script, afterwards)

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("CONVERSATIONS_DB", str(Path(folder) / "conversations.db"))
        EXAMPLE.run()
