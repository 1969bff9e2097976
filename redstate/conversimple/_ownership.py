"""Which conversations an agent owns: claimed before it serves them, taken over from who is gone, lost to others.

Each agent is an owner of its own, with an unguessable name and a lease. The record of a conversation names its owner,
and the token that all changes of the owner show. Whose lease has ended never renews it: others may take what it held,
with a higher token, and what it still sends is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from redstate._jitter import between
from redstate._keys import hook_field
from redstate.calls import ownership
from redstate.calls.ownership import ClaimAnswer
from redstate.conversimple._membership import Membership, membership_of
from redstate.conversimple._statistics import AgentStatistics
from redstate.conversimple._stores import Stores
from redstate.errors import RedstateError

logger = logging.getLogger("redstate.conversimple")

# How many conversations are taken over at once.
_AT_ONCE = 64


# How long to leave a conversation to the agent that it falls to, in seconds.
_YIELD = 0.1
# How many conversations are remembered that are over, and that went to others.
_REMEMBERED = 10_000
# How many of its records an agent looks at with each renewal of its lease, whether they are there still.
_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """A conversation that an agent owns.

    Attributes:
        conversation_id: which.
        key, ttl_ms: its record, and how many milliseconds that lives after a change.
        token: what every change of the owner shows.
        taken: whether it was another's before, or may have been.
    """

    conversation_id: str
    key: str
    ttl_ms: int
    token: int
    taken: bool


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
        self._kind = hashlib.blake2b(agent_name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
        self._ended_field = hook_field(agent_name, "on_conversation_ended")
        self._held: dict[str, Claim] = {}
        self._claiming: dict[str, asyncio.Task[Claim | None]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._joining: asyncio.Task[str] | None = None
        self._membership: Membership | None = None
        self._over: dict[str, None] = {}
        self._ending: set[str] = set()
        self._closed = False
        # Whether it goes on owning something although it is closed.
        self._keeping = False
        self._peers: tuple[str, ...] = ()
        # Its names as an owner, lately.
        self._names: dict[str, None] = {}
        # What this agent owned since it started, and another does now.
        self._former: dict[str, None] = {}
        self._looked_at = 0
        self.owner: str | None = None
        # Not under the SDK's dispatcher: an agent for one conversation takes no others.
        self.takes_over = False

    def held(self, conversation_id: str | None) -> Claim | None:
        """The claim, if the agent owns the conversation as far as it knows."""
        return self._held.get(conversation_id) if conversation_id else None

    def is_over(self, conversation_id: str | None) -> bool:
        """Whether a claim failed because the conversation has ended."""
        return conversation_id in self._over

    def all(self) -> list[str]:
        """The conversations that it owns."""
        return list(self._held)

    def open(self, *, takes_over: bool) -> None:
        """Claim, the first time or after ``leave``; ``takes_over`` is whether to take what others leave, too."""
        self._closed = self._keeping = False
        self._former.clear()
        self.takes_over = takes_over

    async def join(self) -> None:
        """Hear of owners that are gone, and take over what they leave. Tries until the store can be asked."""
        while not self._closed:
            try:
                await self._joined()
                return
            except RedstateError as error:
                logger.warning("the store could not be asked for what other workers have left: %s", error)
            await asyncio.sleep(self._lease)

    async def turn(self, conversation_id: str) -> None:
        """Let the agent come first to whom a conversation falls, where all of a kind are told of it at once.

        Each agrees with the others on whom it falls to (rendezvous hashing), so that they share; it need not be there.
        """
        if conversation_id not in self._held and not self._closed:
            await self._joined()
            if not self._falls_here(conversation_id):
                await asyncio.sleep(between(_YIELD / 2, _YIELD))

    async def hold(self, conversation_id: str, *, ending: bool = False) -> Claim | None:
        """Own the conversation. Returns None where another owner has it, where it is over, or where the agent stops.

        Args:
            conversation_id: which.
            ending: whether that is to see to its end, which an agent that stops still does.

        Raises:
            RedstateError: the store could not tell.
        """
        claim = self._held.get(conversation_id)
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
        claim = self._held.pop(conversation_id, None)
        self._ending.discard(conversation_id)
        self._statistics.conversations = len(self._held)
        if claim is not None and self.owner is not None:
            await self._stores.ask(ownership.release(claim.key, self.owner))
            await self._stores.ask(ownership.drop(self._stores.prefix, self.owner, conversation_id))

    def lose(self, claim: Claim) -> None:
        """The conversation is another's: a change of it was refused for that, or a claim."""
        if self._held.get(claim.conversation_id) is not claim:
            return
        del self._held[claim.conversation_id]
        self._statistics.conversations = len(self._held)
        self._statistics.fenced += 1
        logger.warning(
            "conversation %r was taken over by another worker",
            claim.conversation_id,
            extra={"event": "fenced", "conversation_id": claim.conversation_id},
        )
        self._part_with(claim.conversation_id)

    def close(self) -> None:
        """Claim nothing more; what is held stays so until ``hand_over`` or ``leave``."""
        self._closed = True

    async def hand_over(self, busy: Collection[str]) -> None:
        """Leave to others at once what is not busy, and keep the rest, under another name.

        Raises:
            RedstateError: the store could not do it.
        """
        idle = [one for one in self._held if one not in busy]
        former = self.owner
        if not idle or former is None:
            return
        self._keeping = True
        self.owner = self._joining = None
        await self._joined()
        for claim in [self._held[one] for one in busy if one in self._held]:
            await self._keep(claim, former)
        for conversation_id in idle:
            if self._held.pop(conversation_id, None) is not None:
                self._part_with(conversation_id)
        self._statistics.conversations = len(self._held)
        await self._stores.ask(ownership.leave(self._stores.prefix, former))

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
        _remember(self._former, conversation_id)
        self._lost(conversation_id)

    async def leave(self) -> None:
        """Leave everything that is held to others, at once."""
        self._closed = True
        joining = () if self._joining is None else (self._joining,)
        for task in (*self._claiming.values(), *self._following.values(), *joining):
            task.cancel()
        if self._membership is not None:
            self._membership.remove(self)
        owner, self.owner, self._joining = self.owner, None, None
        # One that has held nothing, or let go of all, is just forgotten.
        held = bool(self._held or self._claiming)
        self._held.clear()
        self._ending.clear()
        self._statistics.conversations = 0
        if owner is None:
            return
        try:
            call = (ownership.leave if held else ownership.forget)(self._stores.prefix, owner)
            await self._stores.ask(call, timeout=self._lease)
        except RedstateError as error:
            # Its lease ends all the same, a little later.
            logger.warning("the other workers could not be told that this one goes: %s", error)

    # What the membership tells

    def lapsed(self, owner: str) -> None:
        """The lease ended: be a new owner, and keep what nobody else has taken."""
        if owner == self.owner and owner not in self._following:
            logger.warning(
                "this worker gave no sign of life for its lease of %g s; what it owned may be others' by now",
                self._lease,
                extra={"event": "lapsed"},
            )
            self._follow(owner, self._come_back(owner))

    def heard(self, beat: ownership.Beat) -> None:
        """Take over what owners have left that are gone, and know those that are there."""
        if not self.takes_over:
            return
        self._peers = tuple(one for one in beat.there if one.endswith(self._kind))
        if self.owner is not None and "-" not in self._following:
            self._follow("-", self._look_around(self.owner))
        if not self._closed:
            for owner in beat.gone:
                if owner != self.owner and owner not in self._following:
                    self._follow(owner, self._take_over(owner))

    async def _look_around(self, owner: str) -> bool:
        """See to calls that were left for this agent, and to a few of its records: whether they are there still."""
        prefix = self._stores.prefix
        mail = await self._stores.ask(ownership.mail(prefix, owner))
        if mail:
            await self._stores.ask(ownership.read_mail(prefix, owner, mail))
            for conversation_id in mail:
                if (claim := self._held.get(conversation_id)) is not None:
                    self._mail(claim)
        held = list(self._held.values())
        self._looked_at = self._looked_at if self._looked_at < len(held) else 0
        for claim in held[self._looked_at : self._looked_at + _LOOKED_AT]:
            found = await self._stores.ask(ownership.owner_of(claim.key))
            # One that still stands under an earlier name of this agent's is about to be kept.
            if found not in self._names and self._held.get(claim.conversation_id) is claim:
                self._miss(claim, found)
        self._looked_at += _LOOKED_AT
        return True

    def _miss(self, claim: Claim, found: str | None) -> None:
        """A record names another owner, or it is gone: it has expired."""
        if found is not None:
            self.lose(claim)
            return
        del self._held[claim.conversation_id]
        self._statistics.conversations = len(self._held)
        self._expired(claim.conversation_id)

    def _follow(self, owner: str, work: Awaitable[bool]) -> None:
        async def follow() -> None:
            done = False
            try:
                done = await work
            except RedstateError as error:
                logger.warning("what an owner left could not be taken over yet: %s", error)
            if not done:
                # What is left is for agents of another kind, which may come yet; or the store failed.
                await asyncio.sleep(self._lease / 2)

        task = asyncio.create_task(follow())
        self._following[owner] = task
        task.add_done_callback(lambda _: self._following.pop(owner, None))

    # How it works

    async def _joined(self) -> str:
        """This agent's id as an owner."""
        if self.owner is not None:
            return self.owner
        if self._joining is None or self._joining.done():
            self._joining = asyncio.create_task(self._join())
        return await asyncio.shield(self._joining)

    async def _join(self) -> str:
        # Who is of the same kind can be told by the end of the name; one for a single conversation is of none.
        owner = f"{secrets.token_hex(8)}.{self._kind if self.takes_over else '-'}"
        self._membership = membership_of(self._stores, self._lease)
        beat = await self._membership.join(owner)
        if self._closed and not self._ending and not self._keeping:
            # It stopped meanwhile. (To see to an end it joins all the same.)
            await self._stores.ask(ownership.forget(self._stores.prefix, owner))
            raise asyncio.CancelledError
        self.owner = owner
        _remember(self._names, owner)
        self.heard(beat)
        self._membership.add(self)
        return owner

    async def _claim(self, conversation_id: str) -> Claim | None:
        answer = await self._asked(conversation_id, "")
        if answer.verdict == "owned" and self._may_follow(answer.owner) and not await self._alive(answer.owner):
            answer = await self._asked(conversation_id, answer.owner)
        if answer.verdict == "ended":
            _remember(self._over, conversation_id)
        return self._settled(conversation_id, answer)

    def _may_follow(self, owner: str) -> bool:
        """Whether an owner is of this agent's kind, or of none."""
        return owner.endswith((f".{self._kind}", ".-"))

    async def _alive(self, owner: str) -> bool:
        return await self._stores.ask(ownership.alive(self._stores.prefix, owner))

    async def _asked(
        self, conversation_id: str, gone: str, *, comes_back: bool = False, must_exist: bool = False
    ) -> ClaimAnswer:
        owner, record, prefix = await self._joined(), self._stores.record(conversation_id), self._stores.prefix
        # Noted first: what is owned and not noted would wait for the platform to ask somebody for it.
        await self._stores.ask(ownership.hold(prefix, owner, record.ttl_ms, conversation_id, self._agent_name))
        call = ownership.claim(
            record.key,
            record.ttl_ms,
            owner,
            gone=gone,
            comes_back=comes_back,
            ended_field=self._ended_field,
            must_exist=must_exist,
        )
        answer = await self._stores.ask(call)
        if not answer.won:
            await self._stores.ask(ownership.drop(prefix, owner, conversation_id))
        return answer

    def _falls_here(self, conversation_id: str) -> bool:
        """Whether a conversation is this agent's rather than another's that is there."""
        peers = self._peers
        return len(peers) < 2 or max(peers, key=lambda one: _weight(one, conversation_id)) == self.owner

    def _settled(self, conversation_id: str, answer: ClaimAnswer) -> Claim | None:
        if not answer.won or (self._closed and conversation_id not in self._ending):
            return None
        record = self._stores.record(conversation_id)
        # Also where it was this agent's already, as far as the store knows: the answer to its claim was lost.
        taken = answer.verdict != "new"
        claim = Claim(conversation_id, record.key, record.ttl_ms, answer.token, taken)
        self._held[conversation_id] = claim
        self._statistics.conversations = len(self._held)
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

    async def _take_over(self, gone: str) -> bool:
        """Claim what an owner has left. Returns whether nothing is left."""
        prefix = self._stores.prefix
        left = await self._stores.ask(ownership.holdings(prefix, gone))
        mine = [one for one, agent_name in left.items() if agent_name == self._agent_name]
        # Those that fall to this agent come first; of the others, what is still left when their turn comes.
        first = [one for one in mine if self._falls_here(one)]
        await self._take(gone, first)
        if len(first) < len(mine):
            await asyncio.sleep(between(_YIELD / 2, _YIELD))
            await self._take(gone, [one for one in mine if one not in self._held])
        if self._closed:
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
                if self._closed:
                    return
                # What others have taken needs no claim to be known. (Without an owner: it died just before its claim.)
                key = self._stores.record(conversation_id).key
                if await self._stores.ask(ownership.owner_of(key)) in (gone, None):
                    # What has expired meanwhile is not begun anew.
                    answer = await self._asked(conversation_id, gone, must_exist=True)
                    self._settled(conversation_id, answer)

        await asyncio.gather(*[take_in_turn() for _ in range(min(_AT_ONCE, len(conversations)))])

    async def _forget(self, gone: str) -> None:
        await self._stores.ask(ownership.drop_all(self._stores.prefix, gone))
        await self._stores.ask(ownership.forget(self._stores.prefix, gone))

    async def _come_back(self, lapsed: str) -> bool:
        self.owner = self._joining = None
        left = dict(self._held)
        while left and not self._closed:
            conversation_id, claim = next(iter(left.items()))
            try:
                await self._keep(claim, lapsed)
                del left[conversation_id]
            except RedstateError as error:
                logger.warning("what this worker owned could not be claimed again yet: %s", error)
                await asyncio.sleep(self._lease / 8)
        if not left:
            await self._forget(lapsed)
        return not left

    async def _keep(self, claim: Claim, former: str) -> None:
        """Own a conversation under a new name, as long as nobody was quicker."""
        if self._held.get(claim.conversation_id) is not claim:
            return
        answer = await self._asked(claim.conversation_id, former, comes_back=True)
        if answer.token == claim.token:
            return
        if answer.won:
            # The server had lost the record.
            del self._held[claim.conversation_id]
            self._settled(claim.conversation_id, answer)
        else:
            self.lose(claim)


def _remember(known: dict[str, None], name: str) -> None:
    known[name] = None
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]


def _weight(owner: str, conversation_id: str) -> bytes:
    return hashlib.blake2b(f"{owner} {conversation_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
