"""What an agent has done, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AgentStatistics:
    """Counts since the agent was made, and what it does now.

    Attributes:
        conversations: how many it owns now.
        calls_running: tool calls under way now.
        calls_answered: tool calls whose tool returned, and that were answered.
        calls_failed: tool calls that were answered with an error.
        calls_repeated: redelivered calls that were answered from the journal.
        claims: conversations that it claimed, take-overs among them.
        take_overs: conversations that it took over from an owner that died or left.
        fenced: conversations that it lost to another owner while it served them.
    """

    conversations: int = 0
    calls_running: int = 0
    calls_answered: int = 0
    calls_failed: int = 0
    calls_repeated: int = 0
    claims: int = 0
    take_overs: int = 0
    fenced: int = 0
