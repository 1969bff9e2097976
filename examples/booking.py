"""A workflow: its steps are declared, and each move is refused unless everything before it is there.

Run it: python examples/booking.py      Draw it: redstate workflow diagram booking:BOOKING (in this folder)
"""

import asyncio
from datetime import date
from typing import Any

from _serve import Example, Phone
from conversimple import tool, tool_async

from redstate import Guard, Step, Workflow, errors_as_result
from redstate.conversimple import StatefulAgent

# A mistake in it (a step that nothing leads to, a dead end, an unknown name) raises InvalidWorkflow right here.
BOOKING = Workflow(
    "booking",
    [
        Step("initial", next="collecting_dates"),
        Step(
            "collecting_dates",
            collects={"check_in": date, "check_out": date},
            guards=[Guard("in order", lambda data: data["check_in"] < data["check_out"], "You would leave first")],
            next="collecting_guests",
        ),
        Step("collecting_guests", collects={"guests": int, "note": str | None}, next="ready_to_confirm"),
        Step("ready_to_confirm", next="completed", time_limit=900, on_timeout="collecting_dates"),
        Step("completed", final=True),
    ],
)


class Reception(StatefulAgent):
    """Books rooms."""

    agent_id = "reception"

    @tool("Start a booking")
    @errors_as_result  # StepRefused becomes {"error": ..., "missing": {...}, "allowed": [...]} for the language model
    def start_booking(self) -> dict[str, Any]:
        self.conversation().workflow(BOOKING).advance("collecting_dates")
        return {"message": "When would you like to arrive, and to leave?"}

    @tool("Set the dates, as 2030-03-10")
    @errors_as_result
    def set_dates(self, check_in: str, check_out: str) -> dict[str, Any]:
        self.conversation().workflow(BOOKING).advance("collecting_guests", check_in=check_in, check_out=check_out)
        return {"message": "For how many guests?"}

    @tool("Set the number of guests")
    @errors_as_result
    def set_guests(self, guests: int) -> dict[str, Any]:
        self.conversation().workflow(BOOKING).advance("ready_to_confirm", guests=guests)
        return {"message": "Shall I book it?"}

    @tool_async("Confirm the booking")
    @errors_as_result
    async def confirm(self) -> dict[str, Any]:
        conversation = self.async_conversation()
        run = conversation.workflow(BOOKING)
        await run.advance("completed")  # of several that confirm at once, one gets past this line
        data = (await run.status()).data
        await conversation.state.increment("bookings")
        nights = (data["check_out"] - data["check_in"]).days
        return {"message": f"Booked: {nights} nights from {data['check_in']:%d %B} for {data['guests']}."}


async def script(phone: Phone) -> None:
    line = await phone.call()
    await line.say("I want a room.", "start_booking")
    await line.say("Just book it!", "confirm")
    await line.say("From 12 to 10 March.", "set_dates", check_in="2030-03-12", check_out="2030-03-10")
    await line.say("The other way round.", "set_dates", check_in="2030-03-10", check_out="2030-03-12")
    await line.say("For a few.", "set_guests", guests="a few")
    await line.say("For three.", "set_guests", guests=3)
    confirmations = await asyncio.gather(*[line.use("confirm") for _ in range(4)])
    booked = [answer["message"] for answer in confirmations if "message" in answer]
    print(f"The caller says yes four times at once; {len(booked)} of them books. {booked[0]}")
    status = await line.record.workflow(BOOKING).status()
    print("Its way:", " -> ".join([BOOKING.initial, *[move.to_step for move in status.history]]))
    await line.hang_up()


EXAMPLE = Example(Reception, script)

if __name__ == "__main__":
    EXAMPLE.run()
