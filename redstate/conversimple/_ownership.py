"""Which conversations an agent owns: claimed before it serves them, taken over from who is gone, lost to others.

Each agent is an owner of its own, with an unguessable name and a lease. The record of a conversation names its owner,
and the token that all changes of the owner show. Whose lease has ended never renews it: others may take what it held,
with a higher token, and what it still sends is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Collection

from redstate._jitter import between
from redstate.calls import ownership
from redstate.calls.ownership import ClaimAnswer
from redstate.conversimple._claimant import Claim, Claimant
from redstate.conversimple._errands import Errands
from redstate.conversimple._names import OwnerNames, Stopped
from redstate.conversimple._remembered import Remembered
from redstate.conversimple._retry import insist
from redstate.conversimple._rounds import Rounds
from redstate.conversimple._statistics import AgentStatistics
from redstate.conversimple._stores import Stores
from redstate.conversimple._succession import YIELD, Succession
from redstate.errors import RedstateError

logger = logging.getLogger("redstate.conversimple")


# For how long the store is asked for what this agent owned before its lease ended, in seconds.
_COME_BACK_WITHIN = 60.0
# Whom the rounds are an errand for; no owner is called that.
_ITSELF = "-"


class Ownership:
    """What one agent owns.

    Args:
        stores: the agent's.
        agent_name: what the agents of this kind are called in all processes.
        lease: seconds.
        won: is told of each conversation when it becomes the agent's.
        lost: is told of each that is another's from now on.
        expired: is told of each that is there no more.
        mail: is told of those that somebody has left a tool call for.
        statistics: where claims are counted.
    """

    def __init__(
        self,
        stores: Stores,
        agent_name: str,
        lease: float,
        *,
        won: Callable[[Claim], None],
        lost: Callable[[str], None],
        expired: Callable[[str], None],
        mail: Callable[[Claim], None],
        statistics: AgentStatistics,
    ) -> None:
        self._stores = stores
        self._agent_name = agent_name
        self._lease = lease
        self._won = won
        self._lost = lost
        self._expired = expired
        self._mail = mail
        self._statistics = statistics
        self._held: dict[str, Claim] = {}
        self._claiming: dict[str, asyncio.Task[Claim | None]] = {}
        self._errands = Errands(lease)
        self._names = OwnerNames(stores, agent_name, lease, self, self._may_join)
        self._claimant = Claimant(stores, self._names, agent_name)
        self._succession = Succession(stores, self._names, self._claimant, agent_name, self)
        self._rounds = Rounds(stores, self._names, self, mail)
        self._over = Remembered()
        self._ending: set[str] = set()
        self._closed = False
        # Whether it goes on owning something although it is closed, and whether it owns nothing any more.
        self._keeping = self._left = False
        # What this agent owned since it started, and another does now.
        self._former = Remembered()
        # Not under the SDK's dispatcher: an agent for one conversation takes no others.
        self.takes_over = False

    @property
    def owner(self) -> str | None:
        """The agent's name as an owner; None while it is none."""
        return self._names.current

    @property
    def names(self) -> OwnerNames:
        """All its names."""
        return self._names

    def _may_join(self) -> bool:
        # To see to an end, and to keep what is busy, it is an owner although it is closed.
        return not self._left and (not self._closed or bool(self._ending) or self._keeping)

    def held(self, conversation_id: str | None) -> Claim | None:
        """The claim, if the agent owns the conversation as far as it knows."""
        return self._held.get(conversation_id) if conversation_id else None

    @property
    def closed(self) -> bool:
        """Whether the agent stops, or has stopped."""
        return self._closed

    def is_over(self, conversation_id: str | None) -> bool:
        """Whether a claim failed because the conversation has ended."""
        return conversation_id in self._over

    def all(self) -> list[str]:
        """The conversations that it owns."""
        return list(self._held)

    def claims(self) -> list[Claim]:
        """Its claims on them."""
        return list(self._held.values())

    def open(self, *, takes_over: bool) -> None:
        """Claim, the first time or after ``leave``; ``takes_over`` is whether to take what others leave, too."""
        self._closed = self._keeping = self._left = False
        self._former.clear()
        self.takes_over = self._names.of_a_kind = takes_over

    async def join(self) -> None:
        """Hear of owners that are gone, and take over what they leave. Tries until the store can be asked."""
        while not self._closed:
            try:
                await self._names.joined()
                return
            except Stopped:
                return
            except RedstateError as error:
                logger.warning("the store could not be asked for what other workers have left: %s", error)
            await asyncio.sleep(self._lease)

    async def turn(self, conversation_id: str) -> None:
        """Let the agent come first to whom a conversation falls, where all of a kind are told of it at once.

        Each agrees with the others on whom it falls to (rendezvous hashing), so that they share; it need not be there.
        """
        if conversation_id not in self._held and not self._closed:
            with contextlib.suppress(Stopped):
                await self._names.joined()
            if not self._names.falls_here(conversation_id):
                await asyncio.sleep(between(YIELD / 2, YIELD))

    async def hold(self, conversation_id: str, *, ending: bool = False) -> Claim | None:
        """Own the conversation. Returns None where another owner has it, where it is over, or where the agent stops.

        Args:
            conversation_id: which.
            ending: whether that is to see to its end, which an agent that stops still does.

        Raises:
            RedstateError: the store could not tell.
        """
        claim = self._held.get(conversation_id)
        if self._left:
            return None
        if ending:
            self._ending.add(conversation_id)
        if claim is not None or (self._closed and not ending):
            return claim
        task = self._claiming.get(conversation_id)
        if task is None:
            task = self._claiming[conversation_id] = asyncio.create_task(self._claim(conversation_id))
            task.add_done_callback(lambda _: self._claiming.pop(conversation_id, None))
        # Whoever waits may be cancelled; the claim goes on for the others.
        claim = await asyncio.shield(task)
        if claim is None:
            self._ending.discard(conversation_id)
        return claim

    async def release(self, conversation_id: str) -> None:
        """Let go of a conversation that is over.

        Raises:
            RedstateError: the store could not be told; nobody else claims a conversation that is over.
        """
        claim = self._drop(conversation_id)
        if claim is not None and self.owner is not None:
            await self._stores.ask(ownership.release(claim.key, self.owner))
            await self._stores.ask(ownership.drop(self._stores.prefix, self.owner, conversation_id))

    def lose(self, claim: Claim) -> None:
        """The conversation is another's: a change of it was refused for that, or a claim."""
        if self._held.get(claim.conversation_id) is not claim:
            return
        self._drop(claim.conversation_id)
        self._statistics.fenced += 1
        logger.warning(
            "conversation %r was taken over by another worker",
            claim.conversation_id,
            extra={"event": "fenced", "conversation_id": claim.conversation_id},
        )
        self._part_with(claim.conversation_id)

    async def over(self, claim: Claim) -> None:
        """The conversation has ended, or left the store, and not through this agent.

        Raises:
            RedstateError: the store could not be told that nobody has it any more.
        """
        self._over.add(claim.conversation_id)
        await self.forget(claim)

    async def forget(self, claim: Claim) -> None:
        """Let go of a conversation whose record is no more this agent's, nor another's.

        Raises:
            RedstateError: the store could not be told.
        """
        if self._held.get(claim.conversation_id) is claim:
            self._drop(claim.conversation_id)
            self._expired(claim.conversation_id)
            if self.owner is not None:
                await self._stores.ask(ownership.drop(self._stores.prefix, self.owner, claim.conversation_id))

    def close(self) -> None:
        """Claim nothing more; what is held stays so until ``hand_over`` or ``leave``."""
        self._closed = True

    async def hand_over(self, busy: Callable[[], Collection[str]]) -> None:
        """Leave to others at once what is not busy, and keep the rest, under another name.

        Args:
            busy: tells what is, at any moment.

        Raises:
            RedstateError: the store could not do it; it can be tried again.
        """
        former = self.owner
        if former is None or not [one for one in self._held if one not in busy()]:
            return
        self._keeping = True
        with contextlib.suppress(Stopped):
            await self._names.rename(former)
            await self._part_with_idle(busy)

    async def _part_with_idle(self, busy: Callable[[], Collection[str]]) -> None:
        kept: set[str] = set()
        # One can become busy meanwhile, by its end.
        while more := [one for one in {*busy(), *self._ending} if one in self._held and one not in kept]:
            kept.update(more)
            await asyncio.gather(*[self.keep(self._held[one]) for one in more])
        for conversation_id in [one for one in self._held if one not in kept]:
            self._drop(conversation_id)
            self._part_with(conversation_id)
        await self._names.leave(but=self.owner)

    def was_mine(self, conversation_id: str | None) -> bool:
        """Whether the platform may still ask this agent for a conversation that is another's now."""
        return conversation_id in self._former

    async def tell_owner(self, conversation_id: str) -> None:
        """Tell the owner that a call was left for it in the record. The next one finds it by itself.

        Raises:
            RedstateError: the store could not do it.
        """
        owner = await self._stores.ask(ownership.owner_of(self._stores.record(conversation_id).key))
        if owner is not None:
            await self._stores.ask(ownership.notify(self._stores.prefix, owner, conversation_id))

    def _part_with(self, conversation_id: str) -> None:
        self._former.add(conversation_id)
        self._lost(conversation_id)

    async def leave(self) -> None:
        """Leave everything that is held to others, at once."""
        self._closed = self._left = True
        self._keeping = False
        for task in self._claiming.values():
            task.cancel()
        self._errands.cancel()
        self._names.end()
        for conversation_id in list(self._held):
            self._drop(conversation_id)
            self._expired(conversation_id)
        self._ending.clear()
        try:
            await self._names.leave()
        except RedstateError as error:
            # Its lease ends all the same, a little later.
            logger.warning("the other workers could not be told that this one goes: %s", error)

    # What the membership tells

    def lapsed(self, owner: str) -> None:
        """The lease ended: be a new owner, and keep what nobody else has taken."""
        if owner == self.owner and not self._errands.under_way(owner) and not self._left:
            logger.warning(
                "this worker gave no sign of life for its lease of %g s; what it owned may be others' by now",
                self._lease,
                extra={"event": "lapsed"},
            )
            self._errands.start(owner, self._come_back)

    def heard(self, beat: ownership.Beat) -> None:
        """Take over what owners have left that are gone, and know those that are there."""
        if not self.takes_over:
            return
        self._names.heard(beat)
        if self.owner is not None and not self._errands.under_way(_ITSELF):
            self._errands.start(_ITSELF, self._rounds.make)
        if self._closed:
            return
        for owner in beat.gone:
            known = owner in self._names.known or self._errands.under_way(owner)
            if not known and self._names.may_follow(owner):
                self._errands.start(owner, self._succession.take_over)

    def _drop(self, conversation_id: str) -> Claim | None:
        claim = self._held.pop(conversation_id, None)
        self._ending.discard(conversation_id)
        return claim

    # How it works

    async def _claim(self, conversation_id: str) -> Claim | None:
        try:
            answer = await self._claimant.ask(conversation_id, "")
        except Stopped:
            return None
        if (
            answer.verdict == "owned"
            and self._names.may_follow(answer.owner)
            and not await self._claimant.alive(answer.owner)
        ):
            answer = await self._claimant.ask(conversation_id, answer.owner)
        if answer.verdict == "ended":
            self._over.add(conversation_id)
        return self.settle(conversation_id, answer)

    def settle(self, conversation_id: str, answer: ClaimAnswer) -> Claim | None:
        """Hold what a claim has won. Returns None where it has not."""
        if not answer.won or (self._closed and conversation_id not in self._ending):
            return None
        record, held = self._stores.record(conversation_id), self._held.get(conversation_id)
        if held is not None and held.token == answer.token:
            return held
        # Also where it was this agent's already, as far as the store knows: the answer to its claim was lost.
        taken = answer.verdict != "new"
        claim = Claim(conversation_id, record.key, record.ttl_ms, answer.token)
        self._held[conversation_id] = claim
        self._statistics.claims += 1
        self._statistics.take_overs += taken
        event = "took_over" if taken else "claimed"
        logger.log(
            logging.INFO if taken else logging.DEBUG,
            "%s conversation %r",
            event.replace("_", " "),
            conversation_id,
            extra={"event": event, "conversation_id": conversation_id},
        )
        self._won(claim)
        return claim

    async def _come_back(self, lapsed: str) -> bool:
        await self._names.rename(lapsed)
        for claim in self.claims():
            await insist(functools.partial(self.keep, claim), _COME_BACK_WITHIN)
        await self._names.leave(but=self.owner)
        return True

    async def keep(self, claim: Claim) -> None:
        """Own a conversation under the present name, as long as nobody was quicker.

        Raises:
            RedstateError: the store could not do it.
        """
        former = self._names.known[0]
        while self._held.get(claim.conversation_id) is claim:
            answer = await self._claimant.ask(claim.conversation_id, former, comes_back=True)
            if answer.owner in self._names.known and answer.owner != former:
                former = answer.owner
            elif answer.token == claim.token:
                # A call may have been left for it under the former name.
                self._mail(claim)
                return
            elif answer.won:
                # The server had lost the record.
                self._drop(claim.conversation_id)
                self.settle(claim.conversation_id, answer)
            else:
                self.lose(claim)
