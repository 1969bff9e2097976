"""Takes over what owners have left that are gone."""

from __future__ import annotations

import asyncio
from typing import Protocol

from redstate._jitter import between
from redstate.calls import ownership
from redstate.calls.ownership import ClaimAnswer
from redstate.conversimple._claimant import Claimant
from redstate.conversimple._names import OwnerNames
from redstate.conversimple._stores import Stores

# How many conversations are taken over at once.
_AT_ONCE = 64
# How long to leave a conversation to the agent that it falls to, in seconds.
YIELD = 0.1


class Successor(Protocol):
    """Who takes over."""

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more."""

    def held(self, conversation_id: str | None) -> object | None:
        """What it holds already."""

    def settle(self, conversation_id: str, answer: ClaimAnswer) -> object | None:
        """A claim was answered."""


class Succession:
    """The take-overs of one agent.

    Args:
        stores: the agent's.
        names: its names as an owner.
        claimant: asks for conversations.
        agent_name: what the agents of this kind are called in all processes.
        owner: who takes over.
    """

    def __init__(
        self, stores: Stores, names: OwnerNames, claimant: Claimant, agent_name: str, owner: Successor
    ) -> None:
        self._stores = stores
        self._names = names
        self._claimant = claimant
        self._agent_name = agent_name
        self._owner = owner

    async def take_over(self, gone: str) -> bool:
        """Claim what an owner has left. Returns whether nothing is left."""
        prefix = self._stores.prefix
        left = await self._stores.ask(ownership.holdings(prefix, gone))
        mine = [one for one, agent_name in left.items() if agent_name == self._agent_name]
        # Those that fall to this agent come first; of the others, what is still left when their turn comes.
        first = [one for one in mine if self._names.falls_here(one)]
        await self._take(gone, first)
        if len(first) < len(mine):
            await asyncio.sleep(between(YIELD / 2, YIELD))
            await self._take(gone, [one for one in mine if self._owner.held(one) is None])
        if self._owner.closed:
            return False
        if len(mine) < len(left):
            for conversation_id in mine:
                await self._stores.ask(ownership.drop(prefix, gone, conversation_id))
            return False
        await self._forget(gone)
        return True

    async def _take(self, gone: str, conversations: list[str]) -> None:
        """Claim conversations of an owner that is gone, several at a time."""
        waiting = iter(conversations)

        async def take_in_turn() -> None:
            for conversation_id in waiting:
                if self._owner.closed:
                    return
                # What others have taken needs no claim to be known. (Without an owner: it died just before its claim.)
                key = self._stores.record(conversation_id).key
                if await self._stores.ask(ownership.owner_of(key)) in (gone, None):
                    # What has expired meanwhile is not begun anew.
                    answer = await self._claimant.ask(conversation_id, gone, must_exist=True)
                    self._owner.settle(conversation_id, answer)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(_AT_ONCE, len(conversations))):
                tasks.create_task(take_in_turn())

    async def _forget(self, gone: str) -> None:
        await self._stores.ask(ownership.drop_all(self._stores.prefix, gone))
        await self._stores.ask(ownership.forget(self._stores.prefix, gone))
