"""Serves tool calls: each under its own conversation, once, and always with an answer."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from conversimple.tools import ToolCall

from redstate.conversimple._binding import Binding, bound
from redstate.conversimple._json import StillLive, json_safe

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

# The SDK's own bounds for timeout_seconds.
DEFAULT_TIMEOUT = 30.0
SHORTEST_TIMEOUT = 0.1
LONGEST_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Request:
    """One tool call as the platform asked for it."""

    call_id: Any
    tool_name: Any
    arguments: Any
    conversation_id: str | None
    timeout: float

    @classmethod
    def of(cls, payload: dict[str, Any], own_conversation: str | None) -> Request:
        """Read a request's payload; ``own_conversation`` counts only where it names none."""
        arguments = payload.get("arguments")
        return cls(
            call_id=payload.get("call_id"),
            tool_name=payload.get("tool_name"),
            arguments={} if arguments is None else arguments,
            conversation_id=payload.get("conversation_id") or own_conversation,
            timeout=_timeout(payload.get("timeout_seconds", DEFAULT_TIMEOUT)),
        )

    @property
    def key(self) -> str:
        """The call's name among those of all conversations: call ids repeat between them."""
        return json.dumps([self.conversation_id, self.call_id])

    def answer(self, **content: Any) -> dict[str, Any]:
        """Return the payload that answers this request."""
        answer = {"call_id": self.call_id or "unknown", "conversation_id": self.conversation_id, **content}
        return {**answer, "tool_name": self.tool_name} if self.tool_name else answer


def _timeout(seconds: Any) -> float:
    try:
        return max(SHORTEST_TIMEOUT, min(float(seconds), LONGEST_TIMEOUT))
    except (TypeError, ValueError):
        return DEFAULT_TIMEOUT


class CallFailed(Exception):
    """Ends a tool call with a message for the platform."""


class ToolCalls:
    """The tool calls of one agent.

    They are kept in the SDK's own tables (tasks in flight, answers given), which its ``stop()`` and its
    bound on remembered answers work on, under keys that name the conversation as well.
    """

    def __init__(self, agent: StatefulAgent) -> None:
        self._agent = agent

    def accept(self, request: Request) -> None:
        """Serve the request in a task of its own, unless the same one is being served."""
        key = request.key
        if key in self._agent._tool_tasks:
            logger.debug("ignored a duplicate of the running call %r", request.call_id)
            return
        task = asyncio.create_task(self.serve(request))
        self._agent._tool_tasks[key] = task
        task.add_done_callback(lambda done: self._agent._finish_tool_task(key, done))

    async def serve(self, request: Request) -> None:
        """Answer the request: with the answer that it had before, or by running the tool."""
        with bound(Binding(self._agent, request.conversation_id, request.call_id)):
            remembered = self._agent._completed_tool_results.get(request.key)
            if remembered is not None:
                await self._agent.connection.send_message(*remembered)
            elif not request.call_id or not request.tool_name:
                await self._send(request, "tool_call_error", _failure(request, "Missing call_id or tool_name"))
            else:
                await self._run(request)

    async def _run(self, request: Request) -> None:
        agent, key = self._agent, request.key
        call = ToolCall(
            call_id=request.call_id,
            tool_name=request.tool_name,
            arguments=request.arguments,
            conversation_id=request.conversation_id or "",
            timeout_seconds=request.timeout,  # type: ignore[arg-type]  # the SDK passes a float here too
        )
        agent.pending_tool_calls[key] = call
        try:
            await agent.callback_manager.trigger_tool_called(call)
            try:
                result = await self._execute(request)
                answer = request.answer(result=await _plain(result))
            except Exception as error:  # noqa: BLE001 - whatever a tool raises is the answer to its call
                _log_failure(request, error)
                await self._send(request, "tool_call_error", _failure(request, _message(error)))
                return
            await self._send(request, "tool_call_response", answer)
            await agent.callback_manager.trigger_tool_completed(request.call_id, result)
        finally:
            agent.pending_tool_calls.pop(key, None)

    async def _execute(self, request: Request) -> Any:
        if not isinstance(request.arguments, dict):
            raise CallFailed(f"arguments must be an object, not {type(request.arguments).__name__}")
        try:
            # The platform's clock runs while the call waits for the conversation's started hook.
            async with asyncio.timeout(request.timeout) as limit:
                await self._agent._lifecycle.wait_started(request.conversation_id)
                # The platform may ask for this because of what a call in another process has answered.
                self._agent._stores.forget(request.conversation_id)
                return await self._agent.tool_registry.execute_tool(request.tool_name, request.arguments)
        except TimeoutError as error:
            if limit.expired():
                self._agent._lifecycle.check_claimed(request.conversation_id)
                raise CallFailed("Tool execution timed out") from error
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside the tool was cancelled, not this call: the caller still gets an answer.
            raise CallFailed("Tool execution was cancelled") from error

    async def _send(self, request: Request, event: str, answer: dict[str, Any]) -> None:
        # Remembered first: a redelivery must find the answer even if this sending fails.
        if request.call_id and request.tool_name:
            self._agent._remember_tool_result(request.key, event, answer)
        await self._agent.connection.send_message(event, answer)


async def _plain(result: Any) -> Any:
    try:
        return json_safe(result)
    except StillLive:
        # Reading it waits for the server, which the event loop must not.
        return await asyncio.to_thread(json_safe, result, may_read=True)


def _failure(request: Request, message: str) -> dict[str, Any]:
    return request.answer(error={"message": message, "timestamp": datetime.now(UTC).isoformat()})


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


def _origin(error: Exception) -> str:
    """The file and line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "an unknown place" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _log_failure(request: Request, error: Exception) -> None:
    # An exception's text may quote what the caller said, so it is shown to those only who ask for DEBUG.
    logger.error(
        "tool %r failed with %s at %s (call %r, conversation %r)",
        request.tool_name,
        type(error).__name__,
        _origin(error),
        request.call_id,
        request.conversation_id,
    )
    logger.debug("traceback of call %r", request.call_id, exc_info=error)
