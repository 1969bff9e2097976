"""The SDK's callbacks, with failures that show."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from conversimple.callbacks import CallbackManager
from conversimple.tools import ToolCall

Callback = Callable[..., Any]

logger = logging.getLogger("redstate.conversimple")


class ReportingCallbacks(CallbackManager):
    """Runs the user's callbacks as the SDK does, and reports those that fail.

    The SDK logs one line and goes on. Here the traceback is logged and the error callback is told
    with ``error_type`` ``"callback_failed"``.
    """

    # The SDK types these as sync, and takes async ones as well.
    on_conversation_started: Callback | None
    on_conversation_ended: Callback | None
    on_error: Callback | None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the SDK's constructor has no annotations

    async def trigger_tool_called(self, tool_call: ToolCall) -> None:
        """Tell the user's callback that a tool is about to run."""
        await self.run("on_tool_called", self.on_tool_called, tool_call, conversation_id=tool_call.conversation_id)

    async def trigger_tool_completed(self, call_id: str, result: Any) -> None:
        """Tell the user's callback what a tool returned, unchanged."""
        await self.run("on_tool_completed", self.on_tool_completed, call_id, result)

    async def trigger_config_update(self, config: dict[str, Any]) -> None:
        """Tell the user's callback about a new configuration."""
        await self.run("on_config_update", self.on_config_update, config)

    async def trigger_error(self, error_type: str, error_message: str, details: dict[str, Any]) -> None:
        """Tell the user's error callback; if that fails too, only the log says so."""
        try:
            await _call(self.on_error, error_type, error_message, details)
        except Exception:
            logger.exception("the on_error callback failed")

    async def run(
        self, name: str, callback: Callback | None, *arguments: Any, conversation_id: str | None = None
    ) -> None:
        """Call ``callback``, sync or async, and report its failure."""
        try:
            await _call(callback, *arguments)
        except Exception as error:
            logger.exception("%s failed in conversation %r", name, conversation_id)
            await self.report(name, error, conversation_id)

    async def report(self, name: str, error: Exception, conversation_id: str | None) -> None:
        """Feed the error callback with the failure of the callback or hook ``name``."""
        message = f"{name} raised {type(error).__name__}: {error}"
        details = {"callback": name, "conversation_id": conversation_id, "exception": error}
        await self.trigger_error("callback_failed", message, details)


async def _call(callback: Callback | None, *arguments: Any) -> None:
    if callback is None:
        return
    outcome = callback(*arguments)
    if inspect.isawaitable(outcome):
        await outcome
