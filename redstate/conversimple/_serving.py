"""Which conversations an agent begins to serve, goes on with, and lets go of."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from conversimple import ConversimpleAgent

from redstate.calls import toolcalls
from redstate.conversimple._background import Background
from redstate.conversimple._claimant import Claim
from redstate.conversimple._ownership import Ownership
from redstate.conversimple._remembered import Remembered
from redstate.conversimple._requests import Request
from redstate.conversimple._retry import PASSING, insist
from redstate.errors import RedstateError

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

# How long to wait before a store that failed is asked again, in seconds.
_FIRST_RETRY, _LONGEST_RETRY = 0.05, 5.0
# For how long the store is asked for the calls of a conversation that was taken over; longer than a call may run.
_CALLS_WITHIN = 300.0


class Serving:
    """The conversations of one agent.

    Attributes:
        background: what the agent does beside.
        only_conversation: the one that the agent is there for, under the SDK's dispatcher; else None.
        only_addressed: whether it serves only what names it, as there are agents of other kinds beside it.
    """

    def __init__(self, agent: StatefulAgent) -> None:
        self._agent = agent
        self.ownership = Ownership(
            agent._stores,
            agent._name(),
            agent.lease,
            won=self._won,
            lost=self._lost,
            expired=self._let_go,
            mail=self._mail,
            statistics=agent._statistics,
        )
        self.background = Background()
        self.only_conversation: str | None = None
        self.only_addressed = False
        # What has registered its tools, on whatever connection.
        self._registered: set[str] = set()
        # What the platform has said to be for an agent of another kind; it does not say so in each message.
        self._others = Remembered()

    def token_of(self, conversation_id: str) -> int:
        """The token under which the agent owns a conversation; 0 where it does not."""
        claim = self.ownership.held(conversation_id)
        return 0 if claim is None else claim.token

    def told(self, event: str, payload: dict[str, Any]) -> None:
        """The platform tells of a conversation: serve it, if it is for this agent and no other one does.

        Nobody waits for that, as a store that is slow must hold up no other message.
        """
        conversation_id = payload.get("conversation_id")
        if not isinstance(conversation_id, str) or not conversation_id:
            logger.warning("ignored %r: it names no conversation", event)
        elif self._is_meant(conversation_id, payload.get("agent_id")):
            self.background.start(self._begin(conversation_id, event, payload))

    async def registers(self, conversation_id: str) -> bool:
        """Whether the agent is to register its tools for a conversation: whether it serves it."""
        try:
            claim = await self.ownership.hold(conversation_id)
        except RedstateError:
            # The store is asked again.
            self.told("conversation_ready", {"conversation_id": conversation_id})
            return False
        if claim is not None:
            # Tool calls can come from here on, and they wait for the started hook only if it has begun.
            await self._agent._lifecycle.begin(conversation_id)
            if conversation_id in self._registered:
                # On a new connection: what could not be sent on the last one is sent now.
                self._mail(claim)
            self._registered.add(conversation_id)
        return claim is not None

    def may_serve(self, request: Request) -> bool:
        """Whether a tool call is reason enough to claim its conversation."""
        if self.only_conversation is not None:
            return request.conversation_id == self.only_conversation
        if request.conversation_id in self._others:
            return False
        registry = self._agent.tool_registry
        return not self.only_addressed or request.tool_name in {*registry.sync_tools, *registry.async_tools}

    async def _begin(self, conversation_id: str, event: str, payload: dict[str, Any]) -> None:
        owns = await self._owns_at_last(conversation_id)
        # It may have ended while this waited: then it is owned for its ended hooks, and its tools are not to be called.
        if owns and not self._agent._lifecycle.is_ending(conversation_id):
            await ConversimpleAgent._handle_platform_message(self._agent, event, payload)

    def _is_meant(self, conversation_id: str, agent_id: Any) -> bool:
        """Whether the platform means an agent of this kind, as far as it says."""
        if self.only_conversation is not None:
            return conversation_id == self.only_conversation
        own = getattr(self._agent, "agent_id", None)
        if not agent_id or not own:
            return conversation_id not in self._others and not self.only_addressed
        if agent_id != own:
            self._others.add(conversation_id)
        return bool(agent_id == own)

    async def _owns_at_last(self, conversation_id: str) -> bool:
        """Whether the conversation is this agent's; the store is asked until it can tell."""
        pause, told = _FIRST_RETRY, False
        while True:
            try:
                await self.ownership.turn(conversation_id)
                return await self.ownership.hold(conversation_id) is not None
            except RedstateError as error:
                if not told:
                    logger.error("conversation %r could not be claimed", conversation_id, exc_info=error)
                    await self._agent.callback_manager.report("on_conversation_started", error, conversation_id)
                told = True
                if not isinstance(error, PASSING) or await self._agent._lifecycle.pause(pause):
                    return False
            pause = min(pause * 2, _LONGEST_RETRY)

    def _won(self, claim: Claim) -> None:
        self.background.start(self._serve(claim))

    async def _serve(self, claim: Claim) -> None:
        agent, conversation_id = self._agent, claim.conversation_id
        if agent._lifecycle.ends(conversation_id):
            await agent._lifecycle.end(conversation_id)
            return
        agent._stores.forget(conversation_id)
        await agent._lifecycle.begin(conversation_id)
        if agent.registered_tools and agent.connection.connected and agent.connection.channel_joined:
            await ConversimpleAgent._register_conversation_tools(agent, conversation_id, agent.registered_tools)
        elif agent.registered_tools:
            # The SDK registers them when it is connected again, unless the agent stops.
            agent.registered_conversations.add(conversation_id)
        await self._go_on_with_calls(claim)

    async def _go_on_with_calls(self, claim: Claim) -> None:
        """Serve the calls that were left in the record."""
        asked = toolcalls.unanswered(claim.key)
        left = await insist(lambda: self._agent._stores.ask(asked), _CALLS_WITHIN)
        if self.ownership.held(claim.conversation_id) is not claim:
            return
        for begun_us, request in left:
            self._agent._tool_calls.accept(Request.of(json.loads(request), claim.conversation_id, begun_us))

    def _mail(self, claim: Claim) -> None:
        self.background.start(self._go_on_with_calls(claim))

    def _lost(self, conversation_id: str) -> None:
        """Another worker has the conversation, or will have it."""
        self._let_go(conversation_id)
        if not self.ownership.all():
            # The platform goes on asking whoever has registered tools. A new connection has registered none.
            self.background.start(self._connect_anew())

    def _let_go(self, conversation_id: str) -> None:
        self._agent._lifecycle.lose(conversation_id)
        self._registered.discard(conversation_id)
        self._agent.registered_conversations.discard(conversation_id)

    async def _connect_anew(self) -> None:
        connection = self._agent.connection
        if connection.connected and not self.ownership.all():
            await connection.disconnect()
            await connection.connect()
            if self.ownership.closed:
                await connection.disconnect()
