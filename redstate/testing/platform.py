"""A platform on this machine that conversimple-sdk agents can join, to run and test them offline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from redstate.testing.platform_agents import JoinedAgent
from redstate.testing.platform_calls import Response, SentCall, ToolResult, outcome
from redstate.testing.platform_errors import AgentGone, NoAgent, PlatformError
from redstate.testing.platform_server import PATH, Desk, listen

if TYPE_CHECKING:
    from websockets.asyncio.server import Server


@dataclass(frozen=True, slots=True)
class StartedConversation:
    """A conversation that agents were told of: ``agents`` are the ids of those."""

    id: str
    customer_id: str
    agents: tuple[str, ...]


class LocalPlatform:
    """A platform that speaks the SDK's websocket protocol on 127.0.0.1.

    ::

        async with LocalPlatform() as platform:
            agent = Shop(api_key="any", platform_url=platform.url)
            await agent.start()
            conv = await platform.start_conversation()
            answer = await platform.call(conv.id, "add_to_cart", {"sku": "sku-1"})
            await platform.end_conversation(conv.id)
            await agent.stop()

    Agents may live in other processes. All agents of one API key share a topic and are told of the same conversations.
    A call that is waited for is sent once more to an agent that registers tools for its conversation later, and, when
    the agent that has it leaves, to another that has registered them. Waiting needs no sleeps: each method returns when
    the agents have done their part.

    Args:
        auth_token: the only API key that is let in; by default every key is.
        port: the port to listen on; by default a free one.
    """

    def __init__(self, *, auth_token: str | None = None, port: int = 0) -> None:
        self._port = port
        self._server: Server | None = None
        self._desk = Desk(auth_token)

    async def __aenter__(self) -> Self:
        self._server = await listen(self._desk, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    # What is known

    @property
    def url(self) -> str:
        """What agents take as ``platform_url``.

        Raises:
            PlatformError: the platform is not running.
        """
        if self._server is None:
            raise PlatformError("the platform is not running: use `async with LocalPlatform() as platform`")
        return f"ws://127.0.0.1:{self._port}{PATH}"

    @property
    def agents(self) -> tuple[JoinedAgent, ...]:
        """The agents that are joined now, in order of joining."""
        return tuple(self._desk.roster.agents)

    @property
    def misrouted(self) -> tuple[Response, ...]:
        """The answers that named another conversation than their call's."""
        return tuple(self._desk.calls.misrouted)

    @property
    def malformed_frames(self) -> int:
        """How many frames of agents were ignored because they were malformed."""
        return self._desk.malformed_frames

    @property
    def heartbeats(self) -> int:
        """How many heartbeats agents have sent."""
        return self._desk.heartbeats

    def responses(self, call_id: str) -> tuple[Response, ...]:
        """Return every answer that named this call, in order of arrival; more than one means duplicates."""
        return self._desk.calls.responses(call_id)

    def unanswered(self) -> tuple[SentCall, ...]:
        """Return the calls that got no answer under their own conversation, so far."""
        return self._desk.calls.unanswered()

    async def wait_for_agents(self, count: int, timeout: float = 10.0) -> tuple[JoinedAgent, ...]:
        """Wait until at least ``count`` agents are joined, and return them.

        Raises:
            PlatformTimeout: fewer are joined after ``timeout`` seconds.
        """
        await self._desk.changes.until(
            lambda: len(self.agents) >= count, timeout, lambda: f"{len(self.agents)} of {count} agents are joined"
        )
        return self.agents

    async def wait_for_departure(self, agent: JoinedAgent, timeout: float = 10.0) -> None:
        """Wait until the agent's connection is closed.

        Raises:
            PlatformTimeout: it is still open after ``timeout`` seconds.
        """
        await self._desk.changes.until(lambda: not agent.connected, timeout, lambda: f"{agent.id} is still connected")

    async def wait_for_responses(self, call_id: str, count: int = 1, timeout: float = 30.0) -> tuple[Response, ...]:
        """Wait until a call has had at least ``count`` answers, and return them all.

        Raises:
            PlatformTimeout: fewer came in ``timeout`` seconds.
        """
        await self._desk.changes.until(
            lambda: len(self.responses(call_id)) >= count,
            timeout,
            lambda: f"call {call_id} has {len(self.responses(call_id))} of {count} answers",
        )
        return self.responses(call_id)

    # What the platform does

    async def start_conversation(
        self,
        conversation_id: str | None = None,
        *,
        agent_id: str | None = None,
        customer_id: str | None = None,
        ready: bool = True,
        lifecycle: bool = True,
        to: Iterable[JoinedAgent | str] | None = None,
        registrations: int = 1,
        timeout: float = 10.0,
    ) -> StartedConversation:
        """Tell agents of a conversation, and wait until one has registered its tools for it.

        Args:
            conversation_id: its id; by default a new one.
            agent_id: the agent class that shall serve it, for the SDK's dispatcher.
            customer_id: whose agents are told; needed only if agents of several customers are joined.
            ready: send ``conversation_ready``.
            lifecycle: send ``conversation_lifecycle`` with ``conversation_started``.
            to: the agents to tell; by default all of the customer.
            registrations: how many agents, whichever, must register tools. One serves a conversation, however many are
                told; plain agents of the SDK all do. 0 does not wait, for agents without tools.
            timeout: seconds to wait at most.

        Raises:
            NoAgent: there is nobody to tell.
            PlatformTimeout: too few have registered in time.
        """
        told = self._desk.roster.chosen(to, customer_id)
        conversation_id = conversation_id or f"conv-{uuid4().hex}"
        conv = StartedConversation(conversation_id, told[0].customer_id, tuple(agent.id for agent in told))
        for agent in told:
            agent.conversations.add(conv.id)
            with _leaving(to):
                if ready:
                    await agent.send("conversation_ready", _about(conv, agent_id=agent_id))
                if lifecycle:
                    await agent.send("conversation_lifecycle", _about(conv, event="conversation_started"))
        await self._wait_registered(conv.id, registrations, timeout)
        return conv

    async def end_conversation(self, conversation_id: str, *, to: Iterable[JoinedAgent | str] | None = None) -> None:
        """Tell agents that a conversation has ended.

        Args:
            conversation_id: the conversation.
            to: the agents to tell; by default those that know of it.

        Raises:
            NoAgent: an agent named in ``to`` is not joined.
            AgentGone: one named in ``to`` left meanwhile.
        """
        told = self._desk.roster.chosen(to, None) if to is not None else None
        if told is None:
            told = [agent for agent in self.agents if agent.serves(conversation_id)]
        self._desk.roster.forget(conversation_id)
        for agent in told:
            conv = StartedConversation(conversation_id, agent.customer_id, ())
            with _leaving(to):
                await agent.send("conversation_lifecycle", _about(conv, event="conversation_ended"))

    async def call(
        self,
        conversation_id: str,
        tool: str,
        arguments: dict[str, Any] | None = None,
        *,
        call_id: str | None = None,
        agent: JoinedAgent | str | None = None,
        tool_timeout: float | None = None,
        timeout: float = 30.0,
    ) -> ToolResult:
        """Call a tool and wait for the answer.

        An answer counts whichever connection it comes by, so one that was redelivered to another agent, or
        that came after a reconnect, is taken.

        Args:
            conversation_id: the conversation.
            tool: the tool's name.
            arguments: the tool's arguments.
            call_id: the call's id; by default a new one.
            agent: who is asked; by default the agents that registered tools for the conversation in turn. Where all
                that have are gone, the call waits for the next that does.
            tool_timeout: seconds that the agent is told it has; by default the SDK's 30.
            timeout: seconds to wait here.

        Raises:
            ToolCallFailed: the agent answered with an error.
            Misrouted: the answer named another conversation.
            NoAgent: nobody can be asked.
            AgentGone: the agent left before it could be asked.
            PlatformTimeout: no answer came in time.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        target = self._desk.roster.find(agent) if agent else await self._whose_turn(conversation_id, tool, deadline)
        payload: dict[str, Any] = {
            "call_id": call_id or f"call-{uuid4().hex}",
            "conversation_id": conversation_id,
            "tool_name": tool,
            "arguments": arguments or {},
        }
        if tool_timeout is not None:
            payload["timeout_seconds"] = tool_timeout
        call = SentCall(payload["call_id"], conversation_id, tool, target.id, payload)
        return await self._ask(target, call, deadline, moves=agent is None)

    async def redeliver(
        self, call_id: str, *, conversation_id: str | None = None, agent: JoinedAgent | str | None = None
    ) -> None:
        """Send a call's request once more, unchanged; ``wait_for_responses`` waits for what comes of it.

        Args:
            call_id: the call.
            conversation_id: needed only if several conversations had a call of this id.
            agent: who gets it; by default the agent that had it first.

        Raises:
            PlatformError: no such call was sent.
            NoAgent: the agent is not joined.
            AgentGone: it left meanwhile.
        """
        call = self._desk.calls.find(call_id, conversation_id)
        await self._desk.roster.find(agent or call.agent).send("tool_call_request", call.payload)

    async def send(self, event: str, payload: dict[str, Any], *, to: Iterable[JoinedAgent | str] | None = None) -> None:
        """Send any message, such as ``config_update`` or ``error_notification``.

        Args:
            event: the event's name.
            payload: its payload.
            to: the agents that get it; by default all.

        Raises:
            NoAgent: one that was named is not joined.
            AgentGone: one left meanwhile.
        """
        for agent in self._desk.roster.chosen(to if to is not None else self.agents, None):
            await agent.send(event, payload)

    async def drop(self, agent: JoinedAgent | str, timeout: float = 10.0) -> None:
        """Cut an agent's connection without a goodbye, and wait until it is gone.

        Raises:
            NoAgent: it is not joined.
        """
        victim = self._desk.roster.find(agent)
        victim.abort()
        await self.wait_for_departure(victim, timeout)

    # How it works

    async def _whose_turn(self, conversation_id: str, tool: str, deadline: float) -> JoinedAgent:
        """The agent to ask; where those that could be asked have left, the next one that registers."""
        roster, clock = self._desk.roster, asyncio.get_running_loop().time
        while True:
            try:
                return roster.for_call(conversation_id, tool)
            except NoAgent:
                if not roster.was_served(conversation_id):
                    raise
            await self._wait_registered(conversation_id, 1, deadline - clock())

    async def _ask(self, agent: JoinedAgent, call: SentCall, deadline: float, *, moves: bool) -> ToolResult:
        answer, clock = self._desk.calls.expect(call), asyncio.get_running_loop().time
        try:
            started = clock()
            while True:
                self._desk.calls.sent(call, agent.id)
                try:
                    await agent.send("tool_call_request", call.payload)
                    break
                except AgentGone:
                    if not moves:
                        raise
                # Its connection is closed, and will be noticed to be.
                await self.wait_for_departure(agent, deadline - clock())
                agent = await self._whose_turn(call.conversation_id, call.tool, deadline)
            return await outcome(call, answer, deadline - clock(), started)
        finally:
            answer.cancel()

    async def _wait_registered(self, conversation_id: str, wanted: int, timeout: float) -> None:
        def registered() -> int:
            return sum(conversation_id in agent.tools for agent in self.agents)

        await self._desk.changes.until(
            lambda: registered() >= wanted,
            timeout,
            lambda: f"{registered()} of {wanted} agents have registered tools for {conversation_id}",
        )


def _leaving(to: object) -> contextlib.AbstractContextManager[None]:
    """Whoever was not named may leave meanwhile, and needs no longer be told."""
    return contextlib.suppress(AgentGone) if to is None else contextlib.nullcontext()


def _about(conv: StartedConversation, **more: str | None) -> dict[str, Any]:
    payload = {"conversation_id": conv.id, "customer_id": conv.customer_id, **more}
    return {**payload, "timestamp": datetime.now(UTC).isoformat()}
