"""Runs a tool: under its conversation, within the call's time, with an answer whatever it does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from conversimple.tools import ToolCall

from redstate._scope import Phase, Scope
from redstate.conversimple._binding import Binding, bound
from redstate.conversimple._json import StillLive, json_safe
from redstate.conversimple._lifecycle import Disowned
from redstate.conversimple._requests import Answer, Request

if TYPE_CHECKING:
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")


class CallFailed(Exception):
    """Ends a tool call with a message for the platform."""


class TimedOut(CallFailed):
    """The call's time was up before the tool returned."""


class ToolRun:
    """The tools of one agent."""

    def __init__(self, agent: StatefulAgent) -> None:
        self._agent = agent

    async def answer(self, request: Request, scope: Scope | None, *, resumed: bool = False) -> tuple[Answer, Any]:
        """Run the tool. Returns what the platform is to be told, and what the tool returned."""
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
            with bound(Binding(agent, request.conversation_id, request.call_id, resumed=resumed, scope=scope)):
                await agent.callback_manager.trigger_tool_called(call)
                return await self._outcome(request, scope)
        finally:
            agent.pending_tool_calls.pop(key, None)

    async def _outcome(self, request: Request, scope: Scope | None) -> tuple[Answer, Any]:
        # Also where the call is cancelled: what its thread still does must not be done beside the next owner's run.
        expired = True
        try:
            result = await self._execute(request)
            answer = Answer("tool_call_response", request.answer(result=await _plain(result)))
            expired = False
            return answer, result
        except Disowned:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is the answer to its call
            expired = isinstance(error, TimedOut)
            log_failure(request, error)
            return request.failure(_message(error)), None
        finally:
            if expired and scope is not None and scope.call is not None:
                scope.call.phase = Phase.EXPIRED

    async def _execute(self, request: Request) -> Any:
        if not isinstance(request.arguments, dict):
            raise CallFailed(f"arguments must be an object, not {type(request.arguments).__name__}")
        try:
            # The platform's clock runs while the call waits for its claim and for the conversation's started hook.
            async with asyncio.timeout(request.left) as limit:
                await self._agent._lifecycle.wait_started(request.conversation_id)
                return await self._agent.tool_registry.execute_tool(request.tool_name, request.arguments)
        except TimeoutError as error:
            if limit.expired():
                self._agent._lifecycle.check_claimed(request.conversation_id)
                raise TimedOut("Tool execution timed out") from error
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside the tool was cancelled, not this call: the caller still gets an answer.
            raise CallFailed("Tool execution was cancelled") from error


def log_failure(request: Request, error: Exception) -> None:
    """Say in the log that a call has failed, and where."""
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


async def _plain(result: Any) -> Any:
    try:
        return json_safe(result)
    except StillLive:
        # Reading it waits for the server, which the event loop must not.
        return await asyncio.to_thread(json_safe, result, may_read=True)


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


def _origin(error: Exception) -> str:
    """The file and line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "an unknown place" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
