"""The server side of the protocol: who joins, what they register and what they answer."""

from __future__ import annotations

import contextlib
import hmac
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from redstate.testing.phoenix import Frame, MalformedFrame, decode
from redstate.testing.platform_agents import JoinedAgent, Roster
from redstate.testing.platform_calls import CallLog, Response, SentCall
from redstate.testing.platform_changes import Changes
from redstate.testing.platform_errors import AgentGone, NoAgent

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request
    from websockets.http11 import Response as HttpResponse

logger = logging.getLogger("redstate.testing")

PATH = "/customer_sdk/websocket"


async def listen(desk: Desk, port: int) -> Server:
    """Start a websocket server on 127.0.0.1 whose connections ``desk`` serves; port 0 is a free one."""
    return await serve(
        desk.serve,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol("phoenix-websocket")],
        process_request=_refuse_other_paths,
        max_size=None,
        ping_interval=None,
        close_timeout=2.0,
    )


class Desk:
    """Takes in what agents send, and keeps it: ``roster``, ``calls``, and ``changes`` for those who wait.

    Args:
        auth_token: the only API key that is let in; None lets every key in.
    """

    def __init__(self, auth_token: str | None) -> None:
        self.roster = Roster()
        self.calls = CallLog()
        self.changes = Changes()
        self.malformed_frames = 0
        self.heartbeats = 0
        self._auth_token = auth_token

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection until it closes."""
        agent: JoinedAgent | None = None
        try:
            async for raw in connection:
                try:
                    agent = await self._receive(connection, decode(raw), agent)
                except MalformedFrame as error:
                    self.malformed_frames += 1
                    logger.warning("ignored a malformed frame of %s: %s", agent or "an agent to be", error)
                self.changes.happened()
        except ConnectionClosed:
            logger.debug("the connection of %s broke", agent)
        finally:
            if agent is not None:
                await self._leave(agent)

    async def _receive(
        self, connection: ServerConnection, frame: Frame, agent: JoinedAgent | None
    ) -> JoinedAgent | None:
        if frame.event == "phx_join" and agent is None:
            return await self._join(connection, frame)
        if agent is None:
            await connection.send(frame.reply("error", {"reason": "unmatched topic"}).encode())
            return None
        match frame.event:
            case "heartbeat":
                self.heartbeats += 1
            case "register_conversation_tools":
                await self._register(agent, frame.payload)
            case "tool_call_response" | "tool_call_error":
                self.calls.receive(Response.of(frame.event, frame.payload, agent.id))
                return agent
            case _:
                await connection.send(frame.reply("error", {"reason": "unmatched event"}).encode())
                return agent
        await connection.send(frame.reply("ok").encode())
        return agent

    async def _join(self, connection: ServerConnection, frame: Frame) -> JoinedAgent | None:
        customer_id, token = _credentials(connection)
        if self._auth_token is not None and not hmac.compare_digest(token.encode(), self._auth_token.encode()):
            await connection.send(frame.reply("error", {"reason": "authentication_failed"}).encode())
            return None
        if frame.topic != f"customer:{customer_id}":
            await connection.send(frame.reply("error", {"reason": "unmatched topic"}).encode())
            return None
        await connection.send(frame.reply("ok").encode())
        agent = JoinedAgent(self.roster.next_id(), customer_id, frame.join_ref, connection)
        self.roster.agents.append(agent)
        return agent

    async def _register(self, agent: JoinedAgent, payload: dict[str, Any]) -> None:
        conversation_id, tools = payload.get("conversation_id"), payload.get("tools")
        if not isinstance(conversation_id, str) or not isinstance(tools, list):
            raise MalformedFrame("it registers tools without a conversation id or without a list of tools")
        self.roster.register(agent, conversation_id, tools)
        await self._send_again(self.calls.waiting(conversation_id, agent.id), agent)

    async def _leave(self, agent: JoinedAgent) -> None:
        agent.connected = False
        self.roster.agents.remove(agent)
        self.changes.happened()
        for call in self.calls.waiting(None, agent.id):
            # Where nobody has, whoever registers next gets it.
            with contextlib.suppress(NoAgent):
                await self._send_again([call], self.roster.for_call(call.conversation_id, call.tool))

    async def _send_again(self, calls: list[SentCall], agent: JoinedAgent) -> None:
        for call in calls:
            self.calls.sent(call, agent.id)
            with contextlib.suppress(AgentGone):
                await agent.send("tool_call_request", call.payload)


def _credentials(connection: ServerConnection) -> tuple[str, str]:
    query = parse_qs(urlsplit(connection.request.path).query) if connection.request is not None else {}
    return query.get("customer_id", [""])[0], query.get("auth_token", [""])[0]


def _refuse_other_paths(connection: ServerConnection, request: Request) -> HttpResponse | None:
    if urlsplit(request.path).path == PATH:
        return None
    return connection.respond(HTTPStatus.NOT_FOUND, f"agents connect to {PATH}\n")
