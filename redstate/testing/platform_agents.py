"""The agents that have joined the local platform."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from redstate.errors import MissingExtra

try:
    from websockets.exceptions import ConnectionClosed
except ImportError as missing:
    raise MissingExtra(
        "LocalPlatform needs websockets, which is not installed",
        next_step='Install it with: pip install "redstate[conversimple]"',
        extra="conversimple",
    ) from missing

from redstate.testing.phoenix import Frame
from redstate.testing.platform_errors import AgentGone, NoAgent

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection


class JoinedAgent:
    """One joined connection; an agent that reconnects joins as a new one.

    Attributes:
        id: ``agent-1`` for the first that joined, and so on.
        customer_id: whose agent it is; all agents of one customer share a topic.
        tools: the tool schemas that it registered, by conversation.
        conversations: the conversations that it was told of.
        connected: whether the connection is open.
    """

    def __init__(self, agent_id: str, customer_id: str, join_ref: str | None, connection: ServerConnection) -> None:
        self.id = agent_id
        self.customer_id = customer_id
        self.tools: dict[str, list[dict[str, Any]]] = {}
        self.conversations: set[str] = set()
        self.connected = True
        self._join_ref = join_ref
        self._connection = connection

    def __repr__(self) -> str:
        return f"<JoinedAgent {self.id}{'' if self.connected else ', gone'}>"

    def offers(self, conversation_id: str, tool: str) -> bool:
        """Tell whether the agent registered ``tool`` for the conversation."""
        return any(schema.get("name") == tool for schema in self.tools.get(conversation_id, ()))

    def serves(self, conversation_id: str) -> bool:
        """Tell whether the agent knows of the conversation."""
        return conversation_id in self.conversations or conversation_id in self.tools

    async def send(self, event: str, payload: dict[str, Any]) -> None:
        """Send one message of the platform to this agent.

        Raises:
            AgentGone: its connection is closed.
        """
        frame = Frame(f"customer:{self.customer_id}", event, payload, join_ref=self._join_ref)
        try:
            await self._connection.send(frame.encode())
        except ConnectionClosed:
            raise AgentGone(f"{self.id} is gone and cannot be sent {event}") from None

    def abort(self) -> None:
        """Cut the connection without a goodbye, as a broken network would."""
        self._connection.transport.abort()


class Roster:
    """The joined agents, in order of joining, and whose turn it is."""

    def __init__(self) -> None:
        self.agents: list[JoinedAgent] = []
        self._joined = 0
        self._turns: dict[str, int] = {}
        self._served: set[str] = set()

    def next_id(self) -> str:
        """Return the id of the agent that joins next."""
        self._joined += 1
        return f"agent-{self._joined}"

    def find(self, agent: JoinedAgent | str) -> JoinedAgent:
        """Return a joined agent, by itself or by its id.

        Raises:
            NoAgent: it has not joined, or it left.
        """
        wanted = agent.id if isinstance(agent, JoinedAgent) else agent
        for one in self.agents:
            if one.id == wanted:
                return one
        raise NoAgent(f"{wanted} is not joined; joined are: {_names(self.agents)}")

    def chosen(self, agents: Iterable[JoinedAgent | str] | None, customer_id: str | None) -> list[JoinedAgent]:
        """Return the agents that were named, or all of the customer, or all of the only customer.

        Raises:
            NoAgent: there is none, or none was named and there are agents of several customers.
        """
        if agents is not None:
            named = [self.find(agent) for agent in agents]
            if not named:
                raise NoAgent("to= names nobody")
            return named
        customers = {agent.customer_id for agent in self.agents}
        if customer_id is None and len(customers) > 1:
            raise NoAgent(f"agents of {len(customers)} customers are joined: pass customer_id= or to=")
        found = [agent for agent in self.agents if customer_id in (None, agent.customer_id)]
        if not found:
            raise NoAgent(f"no agent of customer {customer_id or '(any)'} is joined")
        return found

    def for_call(self, conversation_id: str, tool: str) -> JoinedAgent:
        """Return the agent whose turn it is among those that registered tools for the conversation.

        Raises:
            NoAgent: none did.
        """
        able = [agent for agent in self.agents if conversation_id in agent.tools]
        # If nobody has the tool, one of them shall say so.
        able = [agent for agent in able if agent.offers(conversation_id, tool)] or able
        if not able:
            raise NoAgent(f"no agent registered tools for {conversation_id}; joined are: {_names(self.agents)}")
        turn = self._turns.get(conversation_id, 0)
        self._turns[conversation_id] = turn + 1
        return able[turn % len(able)]

    def register(self, agent: JoinedAgent, conversation_id: str, tools: list[dict[str, Any]]) -> None:
        """Note the tools that an agent offers for a conversation."""
        agent.tools[conversation_id] = tools
        self._served.add(conversation_id)

    def was_served(self, conversation_id: str) -> bool:
        """Tell whether an agent has registered tools for the conversation, which has not ended."""
        return conversation_id in self._served

    def forget(self, conversation_id: str) -> None:
        """Drop what is known of an ended conversation."""
        self._turns.pop(conversation_id, None)
        self._served.discard(conversation_id)
        for agent in self.agents:
            agent.tools.pop(conversation_id, None)
            agent.conversations.discard(conversation_id)


def _names(agents: Iterable[JoinedAgent]) -> str:
    return ", ".join(agent.id for agent in agents) or "none"
