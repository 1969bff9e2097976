"""The demo's agent: a shop where customers log in, fill a cart and book a room.

Each conversation is served by one of several processes, and by another when that one dies. What happened before is read
from the server, never from memory, and each change is one atomic operation that is known by its call: one that is
delivered to two processes, or run again as its process died half-way, takes effect once.
"""

# The SDK's decorators have no annotations.
# mypy: disallow_untyped_decorators=False

import os
from datetime import date, timedelta
from typing import Any

from conversimple import tool, tool_async

from redstate import AsyncConversation, Conversation
from redstate.conversimple import StatefulAgent

# The state field that every tool call adds an entry to; the entries are what the books are checked by.
LOG = "log"


class Shop(StatefulAgent):
    """Some tools are sync and run in threads, some are async and run on the loop; both share the conversation."""

    agent_id = "shop"

    # The cart

    @tool("Log the customer in")
    def log_in(self, mark: str, customer: str) -> dict[str, Any]:
        conv = self.conversation()
        conv.state.update(customer=customer, step="shopping")
        return self._note(conv, mark)

    @tool("Put articles into the cart")
    def add_to_cart(self, mark: str, sku: str, quantity: int, price: str) -> dict[str, Any]:
        conv = self.conversation()
        in_cart = conv.cart.add(sku, quantity, price)
        return self._note(conv, mark, in_cart=in_cart)

    @tool_async("Change how many of an article are in the cart")
    async def set_quantity(self, mark: str, sku: str, quantity: int) -> dict[str, Any]:
        conv = self.async_conversation()
        await conv.cart.set_quantity(sku, quantity)
        return await self._note_async(conv, mark)

    @tool("Take an article out of the cart")
    def remove_from_cart(self, mark: str, sku: str) -> dict[str, Any]:
        conv = self.conversation()
        conv.cart.remove(sku)
        return self._note(conv, mark)

    @tool_async("Say what the cart costs")
    async def cart_total(self, mark: str) -> dict[str, Any]:
        conv = self.async_conversation()
        return await self._note_async(conv, mark, answer=await conv.cart.total())

    @tool_async("Count a page that the customer looks at")
    async def look_at_page(self, mark: str) -> dict[str, Any]:
        conv = self.async_conversation()
        pages = await conv.state.increment("pages")
        return await self._note_async(conv, mark, pages=pages)

    # The booking

    @tool("Choose when to stay")
    def choose_dates(self, mark: str, check_in: str, nights: int) -> dict[str, Any]:
        conv = self.conversation()
        self._require(conv.state.get("step"), "shopping", "dates chosen")
        first = date.fromisoformat(check_in)
        conv.state.update(check_in=first, check_out=first + timedelta(days=nights), step="dates chosen")
        return self._note(conv, mark)

    @tool_async("Choose a room")
    async def choose_room(self, mark: str, room: str) -> dict[str, Any]:
        conv = self.async_conversation()
        self._require(await conv.state.get("step"), "dates chosen", "room chosen")
        await conv.state.update(room=room, step="room chosen")
        return await self._note_async(conv, mark)

    @tool("Confirm the booking")
    def confirm_booking(self, mark: str) -> dict[str, Any]:
        conv = self.conversation()
        self._require(conv.state.get("step"), "room chosen", "booked")
        conv.state.set("step", "booked")
        return self._note(conv, mark)

    @tool("Pay")
    def check_out(self, mark: str) -> dict[str, Any]:
        conv = self.conversation()
        self._require(conv.state.get("step"), "booked", "paid")
        conv.state.set("step", "paid")
        return self._note(conv, mark, answer=conv.cart.total())

    # The log

    def _note(self, conv: Conversation, mark: str, **answer: Any) -> dict[str, Any]:
        entry = self._entry(mark)
        return {"version": conv.state.append(LOG, entry), "worker": entry["worker"], **answer}

    async def _note_async(self, conv: AsyncConversation, mark: str, **answer: Any) -> dict[str, Any]:
        entry = self._entry(mark)
        return {"version": await conv.state.append(LOG, entry), "worker": entry["worker"], **answer}

    def _entry(self, mark: str) -> dict[str, Any]:
        # The id that the call is bound to, beside the mark that came with its arguments: a mix-up shows as a mismatch.
        entry = {"conversation": self.current_conversation_id, "mark": mark, "token": self.fencing_token}
        return {**entry, "worker": int(os.environ["REDSTATE_WORKER"]), "process": os.getpid()}

    def _require(self, step: Any, expected: str, following: str) -> None:
        # A call that goes on where a dead worker left it may find its own step taken.
        if step != expected and not (self.current_call_resumed and step == following):
            raise ValueError(f"the conversation is at {step!r}, not at {expected!r}")
