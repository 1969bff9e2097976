"""A shop agent on a platform of this machine: no account, no server to start. Run it: python examples/shop.py"""

import asyncio
import logging

from conversimple import tool, tool_async

from redstate import AsyncStore, Store
from redstate.conversimple import StatefulAgent
from redstate.embedded import EmbeddedServer
from redstate.testing import LocalPlatform

logging.basicConfig(level=logging.WARNING)


class Shop(StatefulAgent):
    agent_id = "shop"

    async def on_conversation_started(self, conversation_id: str) -> None:
        await self.async_conversation().state.set("step", "shopping")

    @tool("Put an article into the cart")  # sync tools run in threads
    def add_to_cart(self, sku: str, quantity: int, price: str) -> dict:
        return {"in_cart": self.conversation().cart.add(sku, quantity, price)}

    @tool_async("Say what the cart costs")  # async tools run on the event loop
    async def cart_total(self) -> dict:
        return {"total": await self.async_conversation().cart.total()}


async def main() -> None:
    # In production: one server for all processes, and the agents need no store= at all if REDSTATE_URL names it.
    with EmbeddedServer.start() as server, Store.from_url(server.url) as store:
        async with AsyncStore.from_url(server.url) as async_store, LocalPlatform() as platform:
            # Two agents, as two worker processes would have. The first is there first, so it owns the conversation.
            first, second = [
                Shop(api_key="any", platform_url=platform.url, store=store, async_store=async_store) for _ in "12"
            ]
            await first.start()
            conv = await platform.start_conversation()
            await second.start()

            # Eight calls at once, while the first leaves and the second takes over: none is lost, none is done twice.
            tea = {"sku": "tea", "quantity": 1, "price": "0.10"}
            await asyncio.gather(*[platform.call(conv.id, "add_to_cart", tea) for _ in range(8)], first.drain())
            answer = await platform.call(conv.id, "cart_total")
            print(f"The cart of {conv.id} costs {answer.result['total']}")
            print(f"Its state: {store.conversation(conv.id).state.all()}")

            await platform.end_conversation(conv.id)
            await second.stop()


if __name__ == "__main__":
    asyncio.run(main())
