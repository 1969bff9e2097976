"""Merges an ended conversation into its customer's profile."""

from __future__ import annotations

from redstate.conversimple._stores import Stores


class Customers:
    """The customers of one agent's conversations: those whose id stands in the state as ``customer_id``."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def merge(self, conversation_id: str) -> None:
        """Note the conversation in its customer's profile, exactly once however often it ends.

        Raises:
            RedstateError: the store could not do it.
        """
        if self._stores.awaited:
            store = self._stores.for_loop()
            customer_id = _usable(await store.conversation(conversation_id).state.get("customer_id", fresh=True))
            if customer_id:
                await store.customer(customer_id).merge_conversation(conversation_id)
        else:
            await self._stores.threads.run(self._merge_blocking, conversation_id)

    def _merge_blocking(self, conversation_id: str) -> None:
        store = self._stores.for_threads()
        customer_id = _usable(store.conversation(conversation_id).state.get("customer_id", fresh=True))
        if customer_id:
            store.customer(customer_id).merge_conversation(conversation_id)


def _usable(customer_id: object) -> str | None:
    """The id, if it names a customer; an agent may keep anything in a field of that name."""
    return customer_id if isinstance(customer_id, str) and customer_id else None
