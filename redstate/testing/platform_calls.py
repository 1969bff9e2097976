"""The tool calls that the local platform sent, and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redstate.testing.platform_errors import Misrouted, PlatformError, PlatformTimeout, ToolCallFailed


@dataclass(frozen=True, slots=True)
class SentCall:
    """A tool call as it was sent: ``agent`` is the id of the joined agent that got it first."""

    call_id: str
    conversation_id: str
    tool: str
    agent: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of an agent.

    Attributes:
        call_id: the call that it names.
        conversation_id: the conversation that it names, or None.
        agent: the id of the joined agent that sent it.
        error: the error's message; None if the tool returned.
        result: what the tool returned.
    """

    call_id: str
    conversation_id: str | None
    agent: str
    error: str | None
    result: Any

    @classmethod
    def of(cls, event: str, payload: dict[str, Any], agent: str) -> Response:
        """Read the payload of a ``tool_call_response`` or ``tool_call_error``."""
        error = payload.get("error") if event == "tool_call_error" else None
        message = error.get("message") if isinstance(error, dict) else error
        failed = event == "tool_call_error"
        return cls(
            call_id=str(payload.get("call_id")),
            conversation_id=payload.get("conversation_id"),
            agent=agent,
            error=str(message) if failed else None,
            result=payload.get("result"),
        )


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call that returned.

    Attributes:
        call_id: the call.
        conversation_id: its conversation.
        tool: the tool's name.
        agent: the id of the joined agent that answered.
        result: what the tool returned, as JSON carried it.
        seconds: the time from sending the request to the answer.
    """

    call_id: str
    conversation_id: str
    tool: str
    agent: str
    result: Any
    seconds: float


class CallLog:
    """Pairs answers with calls, by call id and conversation, and keeps all of both."""

    def __init__(self) -> None:
        self.misrouted: list[Response] = []
        self._sent: dict[str, dict[str, SentCall]] = {}
        self._responses: dict[str, list[Response]] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[Response]] = {}
        # The agent that each call waited for was last sent to.
        self._with: dict[tuple[str, str], str] = {}

    def find(self, call_id: str, conversation_id: str | None = None) -> SentCall:
        """Return the call that was sent under this id.

        Raises:
            PlatformError: there is none, or several conversations have one and none was named.
        """
        calls = self._sent.get(call_id, {})
        if conversation_id is None and len(calls) == 1:
            return next(iter(calls.values()))
        if conversation_id not in calls:
            known = ", ".join(calls) or "no conversation"
            raise PlatformError(f"call {call_id} of conversation {conversation_id} was not sent; {known} has one")
        return calls[conversation_id]

    def responses(self, call_id: str) -> tuple[Response, ...]:
        """Return every answer that named this call, in order of arrival."""
        return tuple(self._responses.get(call_id, ()))

    def unanswered(self) -> tuple[SentCall, ...]:
        """Return the calls that got no answer under their own conversation."""
        return tuple(call for calls in self._sent.values() for call in calls.values() if not self._answered(call))

    def expect(self, call: SentCall) -> asyncio.Future[Response]:
        """Return a future of the next answer to ``call``.

        Raises:
            PlatformError: an answer to this call is being waited for already.
        """
        key = (call.conversation_id, call.call_id)
        if key in self._waiting:
            raise PlatformError(
                f"call {call.call_id} of conversation {call.conversation_id} is in flight: redeliver it"
            )
        self._sent.setdefault(call.call_id, {}).setdefault(call.conversation_id, call)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        future.add_done_callback(lambda _: self._settle(key))
        return future

    def sent(self, call: SentCall, agent: str) -> None:
        """Note who has the call now."""
        self._with[(call.conversation_id, call.call_id)] = agent

    def waiting(self, conversation_id: str | None, agent: str) -> list[SentCall]:
        """The calls that are waited for: those of a conversation that ``agent`` does not have, or all that it has."""
        return [
            self._sent[call_id][where]
            for where, call_id in self._waiting
            if (where == conversation_id and self._with.get((where, call_id)) not in (agent, None))
            or (conversation_id is None and self._with.get((where, call_id)) == agent)
        ]

    def receive(self, response: Response) -> None:
        """Record an answer and hand it to whoever waits for it."""
        self._responses.setdefault(response.call_id, []).append(response)
        calls = self._sent.get(response.call_id, {})
        if response.conversation_id in calls:
            future = self._waiting.get((response.conversation_id, response.call_id))
            if future is not None and not future.done():
                future.set_result(response)
        elif calls:
            self.misrouted.append(response)
            self._fail(calls.values(), response)

    def _settle(self, key: tuple[str, str]) -> None:
        del self._waiting[key]
        self._with.pop(key, None)

    def _fail(self, calls: Iterable[SentCall], response: Response) -> None:
        for call in calls:
            future = self._waiting.get((call.conversation_id, call.call_id))
            if future is not None and not future.done():
                message = f"answered under conversation {response.conversation_id}"
                future.set_exception(failure(call, response.agent, message, Misrouted))

    def _answered(self, call: SentCall) -> bool:
        return any(one.conversation_id == call.conversation_id for one in self._responses.get(call.call_id, ()))


def failure(call: SentCall, agent: str, message: str, kind: type[ToolCallFailed] = ToolCallFailed) -> ToolCallFailed:
    """Return the error of a call that ``agent`` did not serve well."""
    return kind(call.call_id, call.conversation_id, call.tool, agent, message)


async def outcome(call: SentCall, future: asyncio.Future[Response], timeout: float, started: float) -> ToolResult:
    """Wait for the answer to ``call``.

    Args:
        call: the call.
        future: what ``CallLog.expect`` returned for it.
        timeout: seconds to wait at most.
        started: the event loop's time when the call was sent.

    Raises:
        ToolCallFailed: the agent answered with an error.
        Misrouted: it answered under another conversation.
        PlatformTimeout: no answer came in time.
    """
    try:
        async with asyncio.timeout(timeout):
            response = await future
    except TimeoutError:
        where = f"{call.tool} (call {call.call_id}, conversation {call.conversation_id})"
        raise PlatformTimeout(f"no answer to {where} from {call.agent} after {timeout:g} s") from None
    if response.error is not None:
        raise failure(call, response.agent, response.error)
    seconds = asyncio.get_running_loop().time() - started
    return ToolResult(call.call_id, call.conversation_id, call.tool, response.agent, response.result, seconds)
