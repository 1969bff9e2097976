"""Asks for conversations in an agent's name; a claim is what it has of those that it owns."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass

from redstate._keys import hook_field
from redstate.calls import ownership
from redstate.calls.ownership import ClaimAnswer
from redstate.calls.record import KEPT
from redstate.conversimple._names import OwnerNames
from redstate.conversimple._stores import Stores
from redstate.errors import ConversationEnded, RedstateError


@dataclass(frozen=True, slots=True)
class Claim:
    """A conversation that an agent owns.

    Attributes:
        conversation_id: which.
        key, ttl_ms: its record, and how many milliseconds that lives after a change.
        token: what every change of the owner shows.
    """

    conversation_id: str
    key: str
    ttl_ms: int
    token: int


class Claimant:
    """The claims of one agent.

    Args:
        stores: the agent's.
        names: its names as an owner.
        agent_name: what the agents of this kind are called in all processes.
    """

    def __init__(self, stores: Stores, names: OwnerNames, agent_name: str) -> None:
        self._stores = stores
        self._names = names
        self._agent_name = agent_name
        self._ended_field = hook_field(agent_name, "on_conversation_ended")

    async def alive(self, owner: str) -> bool:
        """Whether an owner's lease runs; once it does not, it never will again."""
        return await self._stores.ask(ownership.alive(self._stores.prefix, owner))

    async def ask(
        self, conversation_id: str, gone: str, *, comes_back: bool = False, must_exist: bool = False
    ) -> ClaimAnswer:
        """Claim a conversation under the present name.

        Args:
            conversation_id: which.
            gone: an owner from whom it may be taken; "" where there is none.
            comes_back: whether that is an earlier name of this agent's.
            must_exist: whether a record that is absent stays so.

        Raises:
            Stopped: the agent has stopped.
            RedstateError: the store could not tell.
        """
        owner = await self._names.joined()
        answer = await self._asked_as(owner, conversation_id, gone, comes_back=comes_back, must_exist=must_exist)
        while answer.won and (now := await self._names.joined()) != owner:
            # It got another name meanwhile, and the record stands under the former one.
            answer = await self._asked_as(now, conversation_id, owner, comes_back=True, must_exist=must_exist)
            owner = now
        return answer

    async def _asked_as(
        self, owner: str, conversation_id: str, gone: str, *, comes_back: bool, must_exist: bool
    ) -> ClaimAnswer:
        record, prefix = self._stores.record(conversation_id), self._stores.prefix
        # Noted first: what is owned and not noted would wait for the platform to ask somebody for it.
        await self._stores.ask(ownership.hold(prefix, owner, record.ttl_ms, conversation_id, self._agent_name))
        claim = functools.partial(
            ownership.claim,
            record.key,
            record.ttl_ms,
            owner,
            gone=gone,
            comes_back=comes_back,
            ended_field=self._ended_field,
        )
        # One that is kept until it is archived is not begun by a claim.
        answer = await self._stores.ask(claim(must_exist=must_exist or record.ttl_ms == KEPT))
        if answer.verdict == "absent" and not must_exist:
            if await self._begun(owner, conversation_id):
                answer = await self._stores.ask(claim(must_exist=True))
            else:
                answer = ClaimAnswer("ended", 0, "")
        if not answer.won:
            await self._stores.ask(ownership.drop(prefix, owner, conversation_id))
        return answer

    async def _begun(self, owner: str, conversation_id: str) -> bool:
        """Begin a conversation that ``owner`` is noted to be about to claim. Returns False where it has ended.

        Raises:
            RedstateError: the store could not do it.
        """
        try:
            await self._stores.begin(conversation_id)
        except ConversationEnded:
            return False
        except RedstateError:
            # Nothing was claimed, so the note is taken back: it would bring others to claim what somebody else begins.
            # Where a claim itself has failed it stays, as that may have been won.
            with contextlib.suppress(RedstateError):  # the note alone gives nobody anything; the lease ends in any case
                await self._stores.ask(ownership.drop(self._stores.prefix, owner, conversation_id))
            raise
        return True
