"""A cart: exact money, limits, attributes of lines, and a checkout that happens once.

Run it: python examples/cart.py
"""

import asyncio
from typing import Any

from _serve import Example, Phone
from conversimple import tool, tool_async

from redstate import CartLimits, errors_as_result
from redstate.conversimple import StatefulAgent

PRICES = {"tea": "4.10", "cup": "12.50", "kettle": "39.90"}


class Shop(StatefulAgent):
    """Sells tea."""

    agent_id = "tea-shop"

    @tool_async("Put an article into the cart")
    @errors_as_result  # CartLimit and CartFrozen become what the language model is told
    async def add(self, sku: str, quantity: int = 1, engraving: str | None = None) -> dict[str, Any]:
        attributes = {"engraving": engraving} if engraving else None
        cart = self.async_conversation().cart
        quantity = await cart.add(sku, quantity, PRICES[sku], attributes=attributes)  # adds to the line of the sku
        return {"message": f"That makes {quantity} {sku}, {await cart.total()} euros in all."}

    @tool("Take an article out of the cart")
    @errors_as_result
    def remove(self, sku: str) -> dict[str, Any]:
        found = self.conversation().cart.remove(sku)
        return {"message": f"No more {sku}." if found else f"There was no {sku}."}

    @tool("Buy what is in the cart, at the total that the caller was told")
    @errors_as_result
    def buy(self, total: str) -> dict[str, Any]:
        conversation = self.conversation()
        # The first checkout of an id freezes the cart; each further one returns the same order. So: one id a cart.
        order_id = f"{conversation.id}-{conversation.state.get('cart_number', 1)}"
        order = conversation.cart.checkout(order_id, expected_total=total)
        lines = [
            f"{line.quantity} {line.sku}" + (f" with {line.attributes['engraving']!r}" if line.attributes else "")
            for line in order.lines.values()
        ]
        return {"message": f"Sold as {order.order_id}: {', '.join(lines)} for {order.total} euros."}

    @tool("Begin another cart after a sale")
    def another(self) -> dict[str, Any]:
        conversation = self.conversation()
        conversation.cart.start_over()
        # Counted, not added up: said twice, it comes to the same.
        conversation.state["cart_number"] = len(conversation.cart.orders()) + 1
        return {"message": "What else may it be?"}


async def script(phone: Phone) -> None:
    line = await phone.call()
    await line.say("Two teas.", "add", sku="tea", quantity=2)
    await line.say("And one more.", "add", sku="tea")
    await line.say("A cup for Ada.", "add", sku="cup", engraving="Ada")
    await line.say("And a kettle.", "add", sku="kettle")
    await line.say("Nine more teas.", "add", sku="tea", quantity=9)
    await line.say("Then no cup.", "remove", sku="cup")
    await line.say("The kettle, for Ada.", "add", sku="kettle", engraving="Ada")
    await line.say("I buy it, for 50 euros.", "buy", total="50")
    sales = await asyncio.gather(*[line.use("buy", total="52.20") for _ in range(4)])
    messages = {sale["message"] for sale in sales}
    print(f"Said yes four times at once, there is {len(messages)} order. {messages.pop()}")
    await line.say("One more cup.", "add", sku="cup")
    await line.say("In a new cart, then.", "another")
    await line.say("One more cup.", "add", sku="cup")
    await line.say("I buy that too.", "buy", total="12.50")
    await line.hang_up()


EXAMPLE = Example(Shop, script, options={"cart_limits": CartLimits(max_lines=2, max_quantity=5)})

if __name__ == "__main__":
    EXAMPLE.run()
