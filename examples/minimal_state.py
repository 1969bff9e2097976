"""Small state: references in place of data, caps with a warning before them, and errors that a tool can return.

Run it: python examples/minimal_state.py
"""

import logging
from typing import Any

from _serve import Example, Phone
from conversimple import tool

from redstate import Limits, errors_as_result
from redstate.conversimple import StatefulAgent

CATALOGUE = [{"id": f"P{number}", "name": f"Tea number {number}"} for number in range(1, 401)]  # 15 kB of teas

# Far below the defaults (256 KiB a value, 4 MiB a conversation), so that a short call reaches them.
LIMITS = Limits(max_value_bytes=8_000, max_conversation_bytes=10_000)


class TeaFinder(StatefulAgent):
    """Finds teas, and remembers which."""

    agent_id = "tea-finder"

    @tool("Keep the whole catalogue in the state")
    @errors_as_result  # TooLarge becomes {"error": ..., "path": ..., "limit": ...}, with a line in the log
    def keep_everything(self) -> dict[str, Any]:
        self.get_state()["catalogue"] = CATALOGUE
        return {"message": "I know every tea by heart."}

    @tool("Remember the teas that the caller likes")
    @errors_as_result
    def like(self, product_ids: list[str]) -> dict[str, Any]:
        liked = self.get_state().setdefault("liked_ids", [])
        liked.extend(product_ids)
        names = {product["id"]: product["name"] for product in CATALOGUE}  # your database
        return {"message": ", ".join(names[product_id] for product_id in liked)}

    @tool("Write down what the caller tells")
    @errors_as_result
    def write_down(self, topic: str, story: str) -> dict[str, Any]:
        self.get_state()[topic] = story
        return {"message": f"{len(story):,} characters about {topic}."}


async def script(phone: Phone) -> None:
    line = await phone.call()
    await line.say("Learn all teas by heart!", "keep_everything")
    await line.say("I like the 7th and the 300th.", "like", product_ids=["P7", "P300"])
    await line.say("My life is a long story...", "write_down", topic="childhood", story="x" * 4_500)
    await line.say("... and it goes on ...", "write_down", topic="youth", story="y" * 4_000)
    await line.say("... and on.", "write_down", topic="work", story="z" * 4_000)
    await line.say("What did I like?", "like", product_ids=[])
    state = await line.record.state.all()
    print(f"Kept: {', '.join(sorted(state))}; of the teas, {', '.join(state['liked_ids'])}.")
    print(f"The largest fields:\n{await line.record.sizes(top=2)}")
    await line.hang_up()


EXAMPLE = Example(TeaFinder, script, options={"limits": LIMITS})

if __name__ == "__main__":
    EXAMPLE.run(log_level=logging.WARNING)
