"""A customer, whom several conversations share: at the same time, and one after the other.

Run it: python examples/customers.py
"""

from typing import Any

from _serve import Example, Phone
from conversimple import tool

from redstate import AsyncStore, Customer
from redstate.conversimple import StatefulAgent


class Florist(StatefulAgent):
    """Knows customers again, by phone and by chat."""

    agent_id = "florist"

    @tool("Learn who is calling")
    def identify(self, customer_id: str) -> dict[str, Any]:
        # The state gets customer_id and customer_data; when this conversation ends, it is merged into the profile.
        context = self.get_customer_context(customer_id)
        known = context.get("favourite", "no favourite yet")
        return {"message": f"Hello, {known}; conversation number {len(context['conversations']) + 1}."}

    @tool("Remember the favourite flower")
    def remember(self, flower: str) -> dict[str, Any]:
        self._customer().update(favourite=flower)  # every conversation of the customer sees it from now on
        return {"message": f"{flower}, I will remember."}

    @tool("Order flowers")
    def order(self, flower: str, stems: int) -> dict[str, Any]:
        customer = self._customer()
        customer.append("last_orders", {"flower": flower, "stems": stems}, cap=2)  # the newest two are kept
        return {"message": f"Ordered; {customer.increment('stems', stems)} stems so far."}

    @tool("Say what the customer likes")
    def favourite(self) -> dict[str, Any]:
        return {"message": f"You like: {self._customer().get('favourite', 'I do not know')}."}

    def _customer(self) -> Customer:
        return self.get_store().customer(self.get_state()["customer_id"])


async def script(phone: Phone) -> None:
    by_phone = await phone.call("call-1", caller="by phone")
    by_chat = await phone.call("chat-1", caller="by chat")
    await by_phone.say("This is Ada.", "identify", customer_id="ada")
    await by_chat.say("It's Ada.", "identify", customer_id="ada")
    await by_phone.say("I love tulips.", "remember", flower="tulips")
    await by_chat.say("What do I like?", "favourite")
    await by_phone.say("Five tulips.", "order", flower="tulips", stems=5)
    await by_chat.say("And seven roses.", "order", flower="roses", stems=7)
    await by_phone.say("Three more tulips.", "order", flower="tulips", stems=3)
    await by_phone.hang_up()
    await by_chat.hang_up()


async def afterwards(store: AsyncStore) -> None:
    customer = store.customer("ada")
    profile = await customer.all()
    orders = ", ".join(f"{order['stems']} {order['flower']}" for order in profile["last_orders"])
    print(f"Kept of Ada: likes {profile['favourite']}, {profile['stems']} stems so far, lately {orders}.")
    merged = sorted(one.id for one in await customer.conversations() if one.ended_at is not None)
    print(f"Her conversations, each merged once: {', '.join(merged)}.")


EXAMPLE = Example(Florist, script, afterwards)

if __name__ == "__main__":
    EXAMPLE.run()
