"""What the changes of the running code are subject to: the owner's token, and the tool call that they are part of.

A context variable carries it, through awaits, into tasks, and into the threads of sync tools. Outside of tool calls and
hooks of agents there is none, and a change costs one look at the variable.

Changes of a tool call have names that follow from the call: its id, and the ordinal of the change among those of the
call on one record. A call that is run again, as its worker died half-way, gives its changes the same names, so those
that were made before are answered from the journal, and only what is missing is made.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from enum import Enum

from redstate import _keys
from redstate._call import guards
from redstate._writers import FIRST_SEQUENCE, Operation
from redstate.errors import (
    ConflictError,
    ConversationAbsent,
    DeadlineExceeded,
    RedstateError,
    StaleOperation,
    StoreError,
)

KEPT = 512
"""How many changes of a call are remembered at least while it runs, on each record, and up to twice as many."""


class Phase(Enum):
    """Where a tool call stands."""

    RUNNING = "running"
    ANSWERED = "answered"
    EXPIRED = "expired"


class CallPen:
    """Names the changes of one tool call.

    Args:
        key: the record of the call's conversation.
        name: see ``_keys.call_pen``.
        deadline_us: until when the call may change anything, in microseconds of the server's clock.

    Attributes:
        phase: where the call stands. Changes of tasks that go on after the answer are no longer the call's.
    """

    __slots__ = ("_following", "_key", "_lock", "_name", "_returned", "deadline_us", "phase")

    def __init__(self, key: str, name: str, deadline_us: int) -> None:
        self._key = key
        self._name = name
        self.deadline_us = deadline_us
        self.phase = Phase.RUNNING
        # The next ordinal for each record.
        self._following: dict[str, int] = {}
        # Those that were given back, for each record and task: who tries again is who gave it back.
        self._returned: dict[tuple[str, object], list[int]] = {}
        # A sync tool may use threads of its own.
        self._lock = threading.Lock()

    def begin(self, key: str) -> Operation:
        """The next change of the call on a record.

        Raises:
            DeadlineExceeded: the call was answered as timed out.
        """
        with self._lock:
            returned = self._returned.get((key, _whose())) if self._returned else None
            if returned:
                sequence = returned.pop(0)
            else:
                sequence = self._following.get(key, FIRST_SEQUENCE + 1)
                self._following[key] = sequence + 1
        # So that a journal is bounded: of a call that goes on and on the first changes are forgotten, by the hundred.
        floor = max(FIRST_SEQUENCE, FIRST_SEQUENCE + ((sequence - FIRST_SEQUENCE) // KEPT - 1) * KEPT)
        kind = _keys.CALL if key == self._key else _keys.FOREIGN_CALL
        op_id = f"rs1{kind}-{self._name}-{sequence}"
        return Operation(kind + self._name, f"{sequence}|{floor}", None, key, sequence, op_id)

    @property
    def changed(self) -> bool:
        """Whether the call may have changed anything."""
        with self._lock:
            named = sum(following - FIRST_SEQUENCE - 1 for following in self._following.values())
            return named > sum(map(len, self._returned.values()))

    def names(self, operation: Operation) -> bool:
        """Whether the change is one of the call."""
        # A repeat by op_id has no number of its own.
        return operation.journal[1:] == self._name and operation.sequence != 0

    def give_back(self, operation: Operation) -> None:
        """The change was not made, and the next one of the same task may be the same once more: it has its name then.

        Without this, how often a change met others' would decide on the names of all that follow.
        """
        with self._lock:
            self._returned.setdefault((operation.key, _whose()), []).append(operation.sequence)


def _whose() -> object:
    """The task that runs, or the thread; as an object, since the number of one that ended is soon another's."""
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:
        return threading.current_thread()


class Scope:
    """What changes are subject to.

    Attributes:
        key: the record that is owned; None where there is none.
        token: the owner's, for changes of that record.
        call: the tool call; None in hooks.
    """

    __slots__ = ("_elsewhere", "_own", "call", "key", "token")

    def __init__(self, key: str | None, token: int, call: CallPen | None = None) -> None:
        self.key = key
        self.token = token
        self.call = call
        deadline_us = None if call is None else call.deadline_us
        self._own, self._elsewhere = guards(token, deadline_us), guards(None, deadline_us)

    def conditions(self, key: str) -> str:
        """What must hold for a change of a record that has no further conditions; see ``guards``."""
        if self.call is not None and self.call.phase is Phase.ANSWERED:
            return guards(self.fence(key))
        return self._own if key == self.key else self._elsewhere

    def begin(self, key: str) -> Operation | None:
        """The name of a change, if it is a running call's; None where it is the process's own.

        Raises:
            DeadlineExceeded: the call was answered as timed out, and nothing that it left behind may change anything.
        """
        call = self.call
        self.refuse_late(key)
        return None if call is None or call.phase is Phase.ANSWERED else call.begin(key)

    def refuse_late(self, key: str) -> None:
        """Refuse what is left of a call that was answered as timed out, or that the next owner runs.

        Raises:
            DeadlineExceeded: it may change nothing more.
        """
        if self.call is not None and self.call.phase is Phase.EXPIRED:
            raise DeadlineExceeded(f"The tool call that would change {key} has timed out", key=key)

    def refused(self, operation: Operation, error: RedstateError) -> RedstateError:
        """A change was not made. Returns what to raise."""
        call = self.call
        if call is None or not call.names(operation):
            return error
        if isinstance(error, StaleOperation) and call.phase is not Phase.RUNNING:
            # It was on its way when the call was answered.
            return DeadlineExceeded(f"The tool call that would change {operation.key} is over", key=operation.key)
        if isinstance(error, (ConflictError, ConversationAbsent, StoreError)):
            call.give_back(operation)
        return error

    @property
    def in_call(self) -> bool:
        """Whether the running code is a tool call's, whose changes have names that follow from their order."""
        return self.call is not None and self.call.phase is Phase.RUNNING

    def deadline_us(self) -> int | None:
        """Until when changes may be made."""
        call = self.call
        return None if call is None or call.phase is Phase.ANSWERED else call.deadline_us

    def fence(self, key: str) -> int | None:
        """The token to show with a change of a record."""
        return self.token if key == self.key else None


def refuse_late(key: str) -> None:
    """As :meth:`Scope.refuse_late`, for changes that no operation's id goes with."""
    scope = current.get()
    if scope is not None:
        scope.refuse_late(key)


def in_call() -> bool:
    """Whether the running code is a tool call's; see :class:`Scope`."""
    scope = current.get()
    return scope is not None and scope.in_call


current: ContextVar[Scope | None] = ContextVar("redstate_scope", default=None)
