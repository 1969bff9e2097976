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

from redstate import _keys
from redstate.errors import InvalidField

# Ten digits from the first to the last: the scripts compare numbers of operations as text.
FIRST_SEQUENCE = 1_000_000_000
LAST_SEQUENCE = 9_999_999_999

# Operations of one pen on one record at once. The journal holds a result for each, and each rewrites the journal.
MOST_OPEN = 64

_GENERATED = re.compile(r"rs1([qi]?)-([A-Za-z0-9_-]{8}|[A-Za-z0-9_-]{16})-(\d{10})")


class Operation:
    """One change on its way.

    Attributes:
        journal: the record's field for its writer.
        op: its number and, where it does not fly alone, its floor; what the script is given.
        writer: the pen, or None for a repeat by id.
        key: the record.
        sequence: its number.
        given: the id by which the caller named it, or None.
    """

    __slots__ = ("given", "journal", "key", "op", "sequence", "writer")

    def __init__(
        self, journal: bytes | str, op: str, writer: Writer | None, key: str, sequence: int, given: str | None = None
    ) -> None:
        self.journal = journal
        self.op = op
        self.writer = writer
        self.key = key
        self.sequence = sequence
        self.given = given

    @property
    def op_id(self) -> str:
        """The id by which a caller can repeat the operation."""
        if self.given is not None or self.writer is None:
            return self.given or ""
        return f"rs1-{self.writer.name}-{self.sequence}"


class Writer:
    """One pen: an unguessable name, a counter, and the operations without an answer by record."""

    __slots__ = ("counter", "field", "name", "open")

    def __init__(self) -> None:
        # 48 random bits: two of the at most 64 writers of a record share a name once in 10^11 records.
        self.name = secrets.token_urlsafe(6)
        self.field = (_keys.JOURNAL + self.name).encode()
        self.counter = itertools.count(FIRST_SEQUENCE)
        self.open: dict[str, list[int]] = {}


class Writers:
    """The pens of one store. Pure bookkeeping; how to wait for a turn is the transports' business."""

    def __init__(self) -> None:
        self._current = Writer()

    def begin(self, key: str) -> Operation | None:
        """A new operation on ``key``, which must be settled, or reported as unknown; None while too many are open."""
        writer = self._current
        others = writer.open.get(key)
        if others is not None and len(others) >= MOST_OPEN:
            return None
        sequence = next(writer.counter)
        if sequence >= LAST_SEQUENCE:
            self._current = Writer()
        if others is None:
            writer.open[key] = [sequence]
            return Operation(writer.field, str(sequence), writer, key, sequence)
        others.append(sequence)
        return Operation(writer.field, f"{sequence}|{others[0]}", writer, key, sequence)

    def settle(self, operation: Operation) -> None:
        """The outcome is known, or nobody will ask for it."""
        writer = operation.writer
        if writer is None:
            return
        others = writer.open.get(operation.key)
        if others is None:
            return
        if len(others) > 1:
            others.remove(operation.sequence)
        else:
            del writer.open[operation.key]

    def unknown(self, operation: Operation) -> None:
        """The outcome stays unknown: the journal keeps it, as this pen writes no more."""
        if operation.writer is self._current:
            self._current = Writer()

    def forget(self) -> None:
        """A new pen in a forked child: parent and child must not share one."""
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
            kind = own[1] or _keys.JOURNAL
            return Operation(kind + own[2], f"{own[3]}|0000000000", None, key, 0, op_id)
        return Operation(_keys.op_field(op_id), str(FIRST_SEQUENCE), None, key, 0, op_id)
