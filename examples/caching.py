"""Caching what is slow to look up: for all processes, with one of them loading.

Run it: python examples/caching.py
"""

import asyncio
from datetime import timedelta
from typing import Any

from _serve import Example, Phone
from conversimple import tool, tool_async

from redstate import AsyncStore
from redstate.conversimple import StatefulAgent

PRODUCTS = {"P1": {"name": "kettle", "price": "39.90"}, "P2": {"name": "cup", "price": "12.50"}}


class Catalogue(StatefulAgent):
    """Answers from a slow database, as seldom as it can."""

    agent_id = "catalogue"
    cache_ttl = timedelta(minutes=5)  # of set_cached

    def __init__(self, *, async_store: AsyncStore, **options: Any) -> None:
        super().__init__(async_store=async_store, **options)
        # All processes share what lies under this key and the arguments; an expired price serves while one loads anew.
        self.price = async_store.cached(ttl=60, stale=30, key="price", tags=["prices"])(self.look_up_price)
        self.prices_changed = async_store.cache.invalidate_tag

    @tool("Describe a product")
    def describe(self, product_id: str) -> dict[str, Any]:
        product = self.get_cached(f"product:{product_id}")
        origin = "from the cache"
        if product is None:
            product, origin = PRODUCTS[product_id], "from the database"
            self.set_cached(f"product:{product_id}", product)
        return {"message": f"{product_id} is a {product['name']} ({origin})."}

    @tool_async("Say what a product costs")
    async def ask_price(self, product_id: str) -> dict[str, Any]:
        price = await self.price(product_id)  # of many that ask at once, in any process, one looks it up
        return {"message": f"{price} euros."}

    @tool_async("Have all prices looked up anew")
    async def new_prices(self) -> dict[str, Any]:
        await self.prices_changed("prices")
        return {"message": "The prices have changed."}

    async def look_up_price(self, product_id: str) -> str | None:
        """The slow part. None, for what there is not, is cached as well, but for a shorter time."""
        await self.async_conversation().state.increment("look_ups")
        await asyncio.sleep(0.2)  # your database
        return PRODUCTS.get(product_id, {}).get("price")


async def script(phone: Phone) -> None:
    ada = await phone.call("call-1", caller="Ada")  # served by agent-1
    bob = await phone.call("call-2", caller="Bob")  # served by agent-2

    async def look_ups() -> int:
        return sum([await line.record.state.get("look_ups", 0) for line in (ada, bob)])

    await ada.say("What is P1?", "describe", product_id="P1")
    await bob.say("What is P1?", "describe", product_id="P1")
    prices = await asyncio.gather(*[line.use("ask_price", product_id="P1") for line in (ada, bob) for _ in range(5)])
    print(f"Ten ask both for the price of P1 at once: {prices[0]['message']} Looked up {await look_ups()} time.")
    await bob.say("Prices are cut!", "new_prices")
    await ada.say("How much is P1 now?", "ask_price", product_id="P1")
    print(f"Looked up {await look_ups()} times by now.")
    await ada.hang_up()
    await bob.hang_up()


EXAMPLE = Example(Catalogue, script)

if __name__ == "__main__":
    EXAMPLE.run()
