"""Identity of operations: who sent a change, its number, and which earlier ones are still owed an answer.

A *writer* is one process's pen. It numbers its operations upwards, and sends with each the number of its oldest
operation on that record that has no answer yet (the *floor*). The record's journal keeps, for each writer, results from
the floor on: nothing more can be asked for again. An operation that flies alone, the usual case, is its own floor and
costs one short field.

When an outcome stays unknown the caller holds its id and may come back much later, so the pen is put aside with its
journal as it is, and the process goes on with a new one.
"""

from __future__ import annotations

import itertools
import re
import secrets
import threading
from typing import NamedTuple

from redstate import _keys
from redstate.errors import InvalidField

# Ten digits from the first to the last: the scripts compare numbers of operations as text.
FIRST_SEQUENCE = 1_000_000_000
LAST_SEQUENCE = 9_999_999_999

_GENERATED = re.compile(r"([A-Za-z0-9_-]{8})\.(\d{10})")


class Operation(NamedTuple):
    """One change on its way. ``journal`` is the record's field for its writer, ``op`` its number and floor."""

    journal: str
    op: str
    writer: Writer | None
    key: str
    sequence: int
    given: str | None

    @property
    def op_id(self) -> str:
        """The id by which a caller can repeat the operation."""
        if self.given is not None or self.writer is None:
            return self.given or ""
        return f"{self.writer.name}.{self.sequence}"


class Writer:
    """One pen: an unguessable name, a counter, and the operations without an answer by record."""

    __slots__ = ("counter", "field", "name", "open")

    def __init__(self) -> None:
        # 48 random bits: two of the at most 64 writers of a record share a name once in 10^11 records.
        self.name = secrets.token_urlsafe(6)
        self.field = _keys.JOURNAL + self.name
        self.counter = itertools.count(FIRST_SEQUENCE)
        self.open: dict[str, list[int]] = {}


class Writers:
    """The pens of one store. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current = Writer()

    def begin(self, key: str) -> Operation:
        """A new operation on ``key``. It must be settled, or reported as unknown."""
        with self._lock:
            writer = self._current
            sequence = next(writer.counter)
            if sequence >= LAST_SEQUENCE:
                self._current = Writer()
            others = writer.open.get(key)
            if others is None:
                writer.open[key] = [sequence]
                op = str(sequence)
            else:
                others.append(sequence)
                op = f"{sequence}|{others[0]}"
        return Operation(writer.field, op, writer, key, sequence, None)

    def settle(self, operation: Operation) -> None:
        """The outcome is known, or nobody will ask for it."""
        writer = operation.writer
        if writer is None:
            return
        with self._lock:
            others = writer.open.get(operation.key)
            if others is None:
                return
            if len(others) == 1:
                del writer.open[operation.key]
            else:
                others.remove(operation.sequence)

    def unknown(self, operation: Operation) -> None:
        """The outcome stays unknown: the journal keeps it, as this pen writes no more."""
        with self._lock:
            if operation.writer is self._current:
                self._current = Writer()

    def forget(self) -> None:
        """A new pen in a forked child: parent and child must not share one. The lock may be held by a lost thread."""
        self._lock = threading.Lock()
        self._current = Writer()

    @staticmethod
    def repeat(key: str, op_id: str) -> Operation:
        """The operation that ``op_id`` names: one of redstate's own, or the caller's idempotency key.

        Raises:
            InvalidField: the id is no str, empty or longer than 256 UTF-8 bytes.
        """
        if type(op_id) is not str or not op_id:
            raise InvalidField(
                "op_id must be a non-empty str", next_step="Pass the op_id of an OutcomeUnknown, or your own"
            )
        own = _GENERATED.fullmatch(op_id)
        if own:
            # Floor zero: a repeat says nothing about which other results are still owed.
            return Operation(_keys.JOURNAL + own[1], f"{own[2]}|0000000000", None, key, 0, op_id)
        return Operation(_keys.op_field(op_id), str(FIRST_SEQUENCE), None, key, 0, op_id)
