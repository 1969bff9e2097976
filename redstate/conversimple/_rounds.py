"""Looks after what an agent owns: whether calls were left for it, and whether the records are there still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from redstate.calls import ownership
from redstate.conversimple._claimant import Claim
from redstate.conversimple._names import OwnerNames
from redstate.conversimple._stores import Stores

# How many of its records an agent looks at with each renewal of its lease.
_LOOKED_AT = 8


class Keeper(Protocol):
    """Who owns the conversations."""

    @property
    def owner(self) -> str | None:
        """Its name; None while it has none."""

    def held(self, conversation_id: str | None) -> Claim | None:
        """The claim, if it owns the conversation as far as it knows."""

    def claims(self) -> list[Claim]:
        """All its claims."""

    async def keep(self, claim: Claim) -> None:
        """The record stands under an earlier name."""

    def lose(self, claim: Claim) -> None:
        """The record is another's."""

    async def forget(self, claim: Claim) -> None:
        """There is no such record."""


class Rounds:
    """The rounds of one agent.

    Args:
        stores: the agent's.
        names: its names as an owner.
        owner: the agent as an owner.
        mail: is told of those that somebody has left a tool call for.
    """

    def __init__(self, stores: Stores, names: OwnerNames, owner: Keeper, mail: Callable[[Claim], None]) -> None:
        self._stores = stores
        self._names = names
        self._owner = owner
        self._mail = mail
        self._looked_at = 0

    async def make(self, _: str) -> bool:
        """See to calls that were left for this agent, and to a few of its records: whether they are there still."""
        prefix, owner = self._stores.prefix, self._owner.owner
        if owner is None:
            return True
        mail = await self._stores.ask(ownership.mail(prefix, owner))
        for conversation_id in mail:
            if (claim := self._owner.held(conversation_id)) is not None:
                self._mail(claim)
        if mail:
            await self._stores.ask(ownership.read_mail(prefix, owner, mail))
        held = self._owner.claims()
        self._looked_at = self._looked_at if self._looked_at < len(held) else 0
        for claim in held[self._looked_at : self._looked_at + _LOOKED_AT]:
            found = await self._stores.ask(ownership.owner_of(claim.key))
            if found == self._owner.owner or self._owner.held(claim.conversation_id) is not claim:
                continue
            if found in self._names.known:
                await self._owner.keep(claim)
            else:
                await self._miss(claim, found)
        self._looked_at += _LOOKED_AT
        return True

    async def _miss(self, claim: Claim, found: str | None) -> None:
        """A record names another owner, or none: it has expired, or left for the archive."""
        if found is not None:
            self._owner.lose(claim)
        else:
            await self._owner.forget(claim)
