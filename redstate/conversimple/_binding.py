"""Which conversation, and which tool call of it, the running code serves.

A context variable follows a tool call through its awaits, into tasks that it starts and into the
thread of a sync tool, so that calls running side by side never see each other's conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from redstate._scope import Scope
from redstate._scope import current as scopes


@dataclass(frozen=True, slots=True)
class Binding:
    """What one agent works on at the moment."""

    # An agent that is used inside another agent's call does not take that call for its own.
    agent: object
    conversation_id: str | None
    call_id: str | None = None
    # Inside the hook that gives a conversation its first state.
    starting: bool = False
    # Whether an earlier owner has begun the call and not finished it.
    resumed: bool = False
    # What the changes made meanwhile are subject to.
    scope: Scope | None = None


_current: ContextVar[Binding | None] = ContextVar("redstate_conversimple_binding", default=None)


def current_binding() -> Binding | None:
    """Return the binding of the running code, or None outside tool calls and hooks."""
    return _current.get()


@contextmanager
def bound(binding: Binding | None) -> Iterator[None]:
    """Run the block under ``binding``; None runs it as outside every call."""
    token = _current.set(binding)
    scope = scopes.set(None if binding is None else binding.scope)
    try:
        yield
    finally:
        scopes.reset(scope)
        _current.reset(token)
