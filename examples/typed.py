"""State that is held to a class: checked when it is written, typed when it is read, older versions included.

Run it: python examples/typed.py      It needs pydantic: pip install "redstate[schema]"
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from _serve import Example, Phone
from conversimple import tool

from redstate import Schema, TypedConversation, errors_as_result
from redstate.conversimple import StatefulAgent


@dataclass
class RentalInWeeks:
    """What the state looked like last year."""

    bike: str = "city"
    weeks: int = 1


@dataclass
class Rental:
    """What it looks like now."""

    bike: Literal["city", "cargo", "tandem"] = "city"
    days: int = 1
    extras: list[str] = field(default_factory=list)

    @property
    def euros(self) -> int:
        return self.days * (15 if self.bike == "city" else 25)


def in_days(state: dict[str, Any]) -> dict[str, Any]:
    """Make version 2 of version 1; at each read, until ``conversation.upgrade()`` writes it down."""
    state.setdefault("days", 7 * state.get("weeks", 1))
    return state


RENTAL = Schema(Rental, version=2, upcasters={1: in_days})


class BikeRental(StatefulAgent):
    """Lets bikes."""

    agent_id = "bike-rental"

    @tool("Choose a bike: city, cargo or tandem")
    @errors_as_result  # InvalidValue becomes {"error": ..., "path": "bike", "expected": ...}
    def choose(self, bike: str) -> dict[str, Any]:
        self.rental().state["bike"] = bike
        return self.offer()

    @tool("Set for how many days")
    @errors_as_result
    def set_days(self, days: Any) -> dict[str, Any]:
        self.rental().state["days"] = days  # "3" becomes 3; "a few" is refused, and nothing is written
        return self.offer()

    @tool("Add an extra")
    @errors_as_result
    def add_extra(self, extra: str) -> dict[str, Any]:
        self.rental().state.append("extras", extra)
        return self.offer()

    @tool("Say what is offered")
    def offer(self) -> dict[str, Any]:
        rental = self.rental().typed()  # a Rental, so that a type checker knows what is in it
        extras = f" with {', '.join(rental.extras)}" if rental.extras else ""
        return {"message": f"A {rental.bike} bike{extras} for {rental.days} days: {rental.euros} euros."}

    def rental(self) -> TypedConversation[Rental]:
        return self.get_store().conversation(self.current_conversation_id or "", schema=RENTAL)


async def script(phone: Phone) -> None:
    line = await phone.call("call-1")
    await line.say("What do you have?", "offer")
    await line.say("A cargo bike.", "choose", bike="cargo")
    await line.say("No, a unicycle!", "choose", bike="unicycle")
    await line.say("For a few days.", "set_days", days="a few")
    await line.say("For three.", "set_days", days="3")
    await line.say("With a helmet.", "add_extra", extra="a helmet")
    await line.hang_up()
    print("A call that a worker of version 1 began, for two weeks:")
    old = phone.store.conversation("call-2", schema=RentalInWeeks)
    await old.state.update(bike="tandem", weeks=2)
    line = await phone.call("call-2")
    await line.say("What did I want?", "offer")
    await line.hang_up()


EXAMPLE = Example(BikeRental, script)

if __name__ == "__main__":
    EXAMPLE.run()
