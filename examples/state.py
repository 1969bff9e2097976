"""State of a conversation: a dict whose changes, nested ones too, are atomic, and outlive the agent that made them.

Run it: python examples/state.py
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

from _serve import Example, Phone
from conversimple import tool, tool_async

from redstate.conversimple import StatefulAgent


class Concierge(StatefulAgent):
    """Keeps the wishes of a hotel's guest."""

    agent_id = "concierge"

    def on_conversation_started(self, conversation_id: str) -> None:
        # Once per conversation, in the process that owns it; in one that takes it over it is on_conversation_resumed.
        self.conversations[conversation_id] = {"preferences": {"language": "English"}, "wishes": [], "calls": 0}

    @tool("Note a wish of the guest")
    def note_wish(self, wish: str) -> dict[str, Any]:
        wishes = self.get_state()["wishes"]  # of the running call's conversation; the list is live, too
        wishes.append({"wish": wish, "noted_at": datetime.now(UTC)})
        return {"message": f"I noted: {wish}."}

    @tool("Take the last wish back")
    def take_back(self) -> dict[str, Any]:
        wishes = self.get_state()["wishes"]
        return {"message": f"I forget: {wishes.pop()['wish']}." if wishes else "There is nothing to forget."}

    @tool("Remember a preference")
    def prefer(self, what: str, choice: str) -> dict[str, Any]:
        self.get_state()["preferences"][what] = choice
        return {"message": f"{choice}, gladly."}

    @tool_async("Count a call for room service")  # async tools await the same state
    async def ring(self) -> dict[str, Any]:
        return {"message": f"Call number {await self.async_conversation().state.increment('calls')}."}

    @tool("Say what is known")
    def recall(self) -> dict[str, Any]:
        state = self.get_state()
        wishes = ", ".join(entry["wish"] for entry in state["wishes"]) or "no wishes"
        likes = ", ".join(f"{what} {choice}" for what, choice in state["preferences"].items())
        return {"message": f"{wishes}; {likes}; {state['calls']} calls."}


async def script(phone: Phone) -> None:
    line = await phone.call()
    await line.say("A quiet room, please.", "note_wish", wish="a quiet room")
    await line.say("Let us speak German.", "prefer", what="language", choice="German")
    # Sixteen at once, while the agent leaves that owns the conversation: the other one goes on where it stopped. With
    # the dict of one process all would be lost, with load, change and save some.
    rings, teas = [line.use("ring") for _ in range(8)], [line.use("note_wish", wish="tea") for _ in range(8)]
    await asyncio.gather(*rings, phone.relieve(), *teas)
    print(f"{'':>8}  (agent-1 has left; agent-2 owns the conversation)")
    await line.say("And a bath tub.", "note_wish", wish="a bath tub")
    await line.say("No, not the bath tub.", "take_back")
    await line.say("What do you know of me?", "recall")
    noted_at = (await line.record.state.get("wishes"))[0]["noted_at"]
    print(f"The time of the first wish came back as a {type(noted_at).__name__}, in {noted_at.tzinfo}.")
    await line.hang_up()


EXAMPLE = Example(Concierge, script)

if __name__ == "__main__":
    EXAMPLE.run()
