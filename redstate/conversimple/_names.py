"""The names under which an agent is an owner: one at a time, and a new one after a lapse and in a drain.

A record stands under the name with which it was claimed, and may for a while stand under an earlier one. All names that
records may stand under are kept, so that none is left without being handed over.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable

from redstate.calls import ownership
from redstate.conversimple._membership import Member, Membership, membership_of
from redstate.conversimple._stores import Stores


class Stopped(Exception):
    """The agent has stopped, and is no owner any more."""


class OwnerNames:
    """The names of one agent.

    Args:
        stores: the agent's.
        agent_name: what the agents of this kind are called in all processes.
        lease: seconds.
        member: whom the membership tells what happens.
        may_join: tells whether the agent may be an owner at this moment.

    Attributes:
        current: the present one; None while there is none.
        known: all that records may stand under, the present one last.
        peers: the agents of this kind that are there, as of the last renewal.
    """

    def __init__(
        self, stores: Stores, agent_name: str, lease: float, member: Member, may_join: Callable[[], bool]
    ) -> None:
        self._stores = stores
        self._lease = lease
        self._member = member
        self._may_join = may_join
        self._kind = hashlib.blake2b(agent_name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        self._joining: asyncio.Task[str] | None = None
        self._membership: Membership | None = None
        # One for a single conversation is of no kind.
        self.of_a_kind = False
        self.current: str | None = None
        self.known: list[str] = []
        self.peers: tuple[str, ...] = ()

    async def joined(self) -> str:
        """The present name; begun now where there is none.

        Raises:
            Stopped: the agent has stopped.
            RedstateError: the store could not be asked.
        """
        if self.current is not None:
            return self.current
        if self._joining is None or self._joining.done():
            self._joining = asyncio.create_task(self._join())
        return await asyncio.shield(self._joining)

    async def rename(self, former: str) -> None:
        """Be an owner under a new name; under the former one still, where that fails.

        Raises:
            Stopped, RedstateError: as ``joined``.
        """
        self.current = self._joining = None
        try:
            await self.joined()
        except BaseException:
            if self.current is None and self._may_join():
                self.current = former
            raise

    def heard(self, beat: ownership.Beat) -> None:
        """Know who is there."""
        self.peers = tuple(one for one in beat.there if one.endswith(self._kind))

    def falls_here(self, conversation_id: str) -> bool:
        """Whether a conversation is this agent's rather than another's that is there (rendezvous hashing)."""
        peers = self.peers
        return len(peers) < 2 or max(peers, key=lambda one: _weight(one, conversation_id)) == self.current

    def may_follow(self, owner: str) -> bool:
        """Whether an owner is of this agent's kind, or of none."""
        return owner.endswith((f".{self._kind}", ".-"))

    def end(self) -> None:
        """Be no owner any more; what stands under the names is still to be left."""
        if self._joining is not None:
            self._joining.cancel()
        if self._membership is not None:
            self._membership.remove(self._member)
        self.current = self._joining = None

    async def leave(self, but: str | None = None) -> None:
        """Leave to others what stands under the names.

        Args:
            but: except under this one.

        Raises:
            RedstateError: the store could not do it.
        """
        prefix = self._stores.prefix
        for name in [one for one in self.known if one != but]:
            # One that holds nothing is just forgotten.
            held = await self._stores.ask(ownership.holds(prefix, name), timeout=self._lease)
            call = (ownership.leave if held else ownership.forget)(prefix, name)
            await self._stores.ask(call, timeout=self._lease)
            if name in self.known:
                self.known.remove(name)

    async def _join(self) -> str:
        # Who is of the same kind can be told by the end of the name.
        name = f"{secrets.token_hex(8)}.{self._kind if self.of_a_kind else '-'}"
        self._membership = membership_of(self._stores, self._lease)
        beat = await self._membership.join(name)
        if not self._may_join():
            # It stopped meanwhile.
            await self._stores.ask(ownership.forget(self._stores.prefix, name))
            raise Stopped
        self.current = name
        self.known.append(name)
        self._member.heard(beat)
        self._membership.add(self._member)
        return name


def _weight(owner: str, conversation_id: str) -> bytes:
    return hashlib.blake2b(f"{owner} {conversation_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
