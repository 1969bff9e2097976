"""What goes wrong when a test drives agents through the local platform."""

from __future__ import annotations


class PlatformError(Exception):
    """Base of the local platform's errors."""


class PlatformTimeout(PlatformError, TimeoutError):
    """Something that was waited for did not happen in time; says what, and where it was expected."""


class NoAgent(PlatformError):
    """There is no joined agent for what was asked."""


class AgentGone(PlatformError):
    """The agent's connection is closed."""


class ToolCallFailed(PlatformError):
    """The agent answered a tool call with an error.

    Attributes:
        call_id: the call.
        conversation_id: its conversation.
        tool: the tool's name.
        agent: the id of the joined agent that answered.
        message: what the agent said.
    """

    def __init__(self, call_id: str, conversation_id: str, tool: str, agent: str, message: str) -> None:
        self.call_id = call_id
        self.conversation_id = conversation_id
        self.tool = tool
        self.agent = agent
        self.message = message
        super().__init__(f"{tool} (call {call_id}, conversation {conversation_id}, {agent}): {message}")


class Misrouted(ToolCallFailed):
    """A call was answered under another conversation than its own."""
