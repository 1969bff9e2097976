"""Which transactions the running code is in: by context, so that other tasks and threads are not drawn into them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar, Token

from redstate.calls.pending import Pending
from redstate.errors import ConfigurationError

Scope = tuple[int, str, bool, str]
"""Which store, and which record: one key can stand on two servers. And under what each change stands: whether it needs
a session, and the schema that writes."""

Active = dict[tuple[int, str], Pending]
_NONE: Active = {}

_active: ContextVar[Active] = ContextVar("redstate_transactions", default=_NONE)


transactions = _active.get
"""All that the running code is in; empty where it is in none."""


def pending_of(scope: Scope) -> Pending | None:
    """The transaction on a record that the running code is in. It needs a session as soon as one part of it does."""
    active = transactions()
    # The usual case, in the way of every call: no transaction at all.
    if not active:
        return None
    pending = active.get(scope[:2])
    # A task that was started inside a transaction can outlive it.
    if pending is None or pending.closed:
        return None
    _stand_under(pending, scope)
    return pending


def in_any_transaction() -> bool:
    """Whether the running code may be in a transaction, on whatever record."""
    return bool(transactions())


def enter(scope: Scope, pending: Pending) -> Token[Active]:
    """Make the running code a part of the transaction, until ``leave``."""
    _stand_under(pending, scope)
    return _active.set({**_active.get(), scope[:2]: pending})


def _stand_under(pending: Pending, scope: Scope) -> None:
    pending.logged_in = pending.logged_in or scope[2]
    if scope[3] and pending.schema != scope[3]:
        if pending.schema:
            raise ConfigurationError(
                "a transaction takes one version of a schema", next_step="Use handles of one schema inside the block"
            )
        pending.schema = scope[3]


def leave(token: Token[Active]) -> None:
    """The opposite of ``enter``."""
    # A generator's block can end in another context than it began in; a transaction that is closed is none, there too.
    with contextlib.suppress(ValueError):
        _active.reset(token)


def whose() -> tuple[int, int]:
    """The thread and the task that run: a block joins one that the same ones are in, and no other."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)


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
