"""Tools for tests of agents and of redstate itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redstate.testing.fake import fake_async_store, fake_store
    from redstate.testing.platform import LocalPlatform, StartedConversation
    from redstate.testing.platform_agents import JoinedAgent
    from redstate.testing.platform_calls import Response, SentCall, ToolResult
    from redstate.testing.platform_errors import (
        AgentGone,
        Misrouted,
        NoAgent,
        PlatformError,
        PlatformTimeout,
        ToolCallFailed,
    )

__all__ = [
    "AgentGone",
    "JoinedAgent",
    "LocalPlatform",
    "Misrouted",
    "NoAgent",
    "PlatformError",
    "PlatformTimeout",
    "Response",
    "SentCall",
    "StartedConversation",
    "ToolCallFailed",
    "ToolResult",
    "fake_async_store",
    "fake_store",
]

_HOMES = {
    "LocalPlatform": "platform",
    "StartedConversation": "platform",
    "JoinedAgent": "platform_agents",
    "Response": "platform_calls",
    "SentCall": "platform_calls",
    "ToolResult": "platform_calls",
    "AgentGone": "platform_errors",
    "Misrouted": "platform_errors",
    "NoAgent": "platform_errors",
    "PlatformError": "platform_errors",
    "PlatformTimeout": "platform_errors",
    "ToolCallFailed": "platform_errors",
    "fake_async_store": "fake",
    "fake_store": "fake",
}


def __getattr__(name: str) -> Any:
    # The platform needs websockets; the other tools of this package work without it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
