"""Which transactions the running code is in: by context, so that other tasks and threads are not drawn into them."""

from __future__ import annotations

from contextvars import ContextVar, Token

from redstate.calls.pending import Pending
from redstate.errors import ConfigurationError

Scope = tuple[int, str, bool]
"""Which store, and which record: one key can stand on two servers. And whether a change needs a session."""

Active = dict[tuple[int, str], Pending]
_NONE: Active = {}

_active: ContextVar[Active] = ContextVar("redstate_transactions", default=_NONE)


def pending_of(scope: Scope) -> Pending | None:
    """The transaction on a record that the running code is in. It needs a session as soon as one part of it does."""
    active = _active.get()
    # The usual case, in the way of every call: no transaction at all.
    if not active:
        return None
    pending = active.get(scope[:2])
    # A task that was started inside a transaction can outlive it.
    if pending is None or pending.closed:
        return None
    pending.logged_in = pending.logged_in or scope[2]
    return pending


def enter(scope: Scope, pending: Pending) -> Token[Active]:
    """Make the running code a part of the transaction, until ``leave``."""
    pending.logged_in = scope[2]
    return _active.set({**_active.get(), scope[:2]: pending})


def leave(token: Token[Active]) -> None:
    """The opposite of ``enter``."""
    _active.reset(token)


def refuse_inside(scope: Scope, what: str) -> None:
    """Keep a change that cannot be part of a transaction from slipping past it.

    Raises:
        ConfigurationError: the running code is in a transaction on this record.
    """
    if pending_of(scope) is not None:
        raise ConfigurationError(
            f"{what} cannot be part of a transaction",
            next_step="Call it before or after the block; changes of the state, without conditions, can be inside",
        )
