"""Callers who come back: what has ended is in the archive, and goes on from there when it is asked for.

Run it: python examples/returning.py      It needs SQLAlchemy: pip install "redstate[archive]"
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from _serve import Example, Phone, until
from conversimple import tool_async

import redstate.archive
from redstate import AsyncStore, StoreOptions
from redstate.conversimple import StatefulAgent


class Hotline(StatefulAgent):
    """Knows who calls, and what the last call was about."""

    agent_id = "hotline"

    @tool_async("Note who calls")
    async def identify(self, caller: str) -> dict[str, Any]:
        await self.async_conversation().state.set("customer_id", caller)  # whose profile the end is merged into
        last = await self.get_async_store().customer(caller).get("last_conversation")
        return {"message": f"Welcome back, {caller}." if last else f"Welcome, {caller}.", "last": last}

    @tool_async("Note what it is about")
    async def note(self, topic: str, step: str) -> dict[str, Any]:
        await self.async_conversation().state.update(topic=topic, step=step)
        return {"message": f"I note: {topic}, {step}."}

    @tool_async("Look up the last call")
    async def look_up(self) -> dict[str, Any]:
        store = self.get_async_store()
        caller = await self.async_conversation().state.get("customer_id")
        found = await store.archive.get(await store.customer(caller).get("last_conversation"))
        if found is None:
            return {"error": "The last call is not in the archive"}
        return {"message": f"It was about {found.state['topic']}, {found.state['step']}; it {found.reason}."}

    @tool_async("Go on with an earlier call")
    async def go_on(self, earlier: str, step: str) -> dict[str, Any]:
        conversation = self.get_async_store().conversation(earlier)
        if not await conversation.resume():
            return {"error": "There is no such call"}
        await conversation.state.set("step", step)
        state = await conversation.state.all()
        await conversation.end("solved")
        return {"message": f"{state['topic']} is {state['step']} now."}


async def script(phone: Phone) -> None:
    # In earnest it is a process of its own: redstate sweep.
    sweeper = redstate.archive.Sweeper(phone.store)

    async def archived(conversation_id: str) -> bool:
        await sweeper.sweep()
        return await phone.store.archive.get(conversation_id) is not None

    first = await phone.call("call-1", caller="Ada")
    await first.say("It is Ada.", "identify", caller="ada")
    await first.say("My kettle stays cold.", "note", topic="a kettle", step="cold")
    await first.hang_up()
    await until(lambda: archived("call-1"))
    print(f"{'':>8}  (call-1 has left Redis for the archive)")
    second = await phone.call("call-2", caller="Ada")
    await second.say("Ada again.", "identify", caller="ada")
    await second.say("You know my last call.", "look_up")
    await second.say("It is warm now!", "go_on", earlier="call-1", step="warm")
    await second.say("And call 7?", "go_on", earlier="call-7", step="warm")
    await second.say("Thank you.", "note", topic="thanks", step="done")
    await second.hang_up()
    await until(lambda: archived("call-2"))


async def afterwards(store: AsyncStore) -> None:
    await redstate.archive.Sweeper(store).sweep()
    for one in sorted(await store.archive.list(customer_id="ada"), key=lambda one: one.conversation_id):
        print(f"The archive has {one.conversation_id}, {one.reason}, of {one.customer_id}.")
    print(f"On its way there: {(await store.archive.backlog()).due}.")
    erased = await store.customer("ada").erase()
    print(f"Ada is erased: {erased.archived} conversations, and the profile: {erased.profile}.")


def database() -> str:
    """The archive's file; without a name for it one that is gone when the example is over."""
    if named := os.environ.get("CONVERSATIONS_DB"):
        return named
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return str(folder / "conversations.db")


EXAMPLE = Example(Hotline, script, afterwards, StoreOptions(archive=database()))

if __name__ == "__main__":
    EXAMPLE.run()
