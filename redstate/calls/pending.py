"""The changes of a transaction until they are sent: what each field was, what it becomes, and what may be replayed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

from redstate import _keys
from redstate._call import Mutation
from redstate._codec import Codec, Limits
from redstate.calls.commit import Commit
from redstate.errors import ConfigurationError, ConflictError

_TAGGED = b'{"~"'
Raw = bytes | None
Replay = Callable[[Raw], Raw]


class _Field:
    """One field: what it was when it was read, what it is now, and how it came to be that."""

    __slots__ = ("base", "now", "observed", "renewed", "replays")

    def __init__(self, base: Raw, *, known: bool) -> None:
        self.base = base
        self.now = base
        # None once a value was put there whatever stood before: nothing to expect, nothing to replay.
        self.replays: list[Replay] | None = [] if known else None
        self.observed = False
        # Deleted and put again: it comes last in the order then.
        self.renewed = False

    def copy(self) -> _Field:
        """The same, to go back to."""
        other = copy.copy(self)
        other.replays = None if self.replays is None else list(self.replays)
        return other


Savepoint = dict[str, _Field]


class Pending:
    """What one transaction has read and changed of one record's state.

    A field whose value the caller has seen must still hold it when the transaction commits. One that was only changed
    (an item appended, a nested key set) is changed again on its newest value where another writer came first.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.closed = False
        self.logged_in = False
        self.schema = ""
        self.owner: object = None
        # What has to be undone outside when the changes are dropped.
        self.undo: list[Callable[[], None]] = []
        self._fields: dict[str, _Field] = {}
        self._order: bytes | None = None
        self._saw_order = False

    def end(self) -> None:
        """The block is over: nothing more is taken in."""
        self.closed = True

    def dropped(self) -> None:
        """The changes were not made after all."""
        for undo in reversed(self.undo):
            undo()

    def savepoint(self) -> Savepoint:
        """What ``restore`` goes back to."""
        return {name: field.copy() for name, field in self._fields.items()}

    def restore(self, savepoint: Savepoint) -> None:
        """Forget the changes since a savepoint. What was read since then still has to last."""
        for name, field in self._fields.items():
            if name in savepoint:
                savepoint[name].observed = savepoint[name].observed or field.observed
            elif field.replays is not None:
                # Read in between: it is as it was read.
                field.now, field.replays, field.renewed = field.base, [], False
                savepoint[name] = field
        self._fields = savepoint

    def knows(self, name: str) -> bool:
        """Whether the field has been read, or put, in this transaction."""
        return name in self._fields

    def load(self, name: str, raw: Raw) -> None:
        """Take note of what the server holds."""
        self._check_open()
        self._fields.setdefault(name, _Field(raw, known=True))

    def load_all(self, state: dict[str, bytes], order: bytes | None) -> None:
        """Take note of the whole state: every field, and which fields there are, count as seen.

        Raises:
            ConflictError: a field is not any more what this transaction saw.
        """
        self._check_open()
        if not self._saw_order:
            self._order, self._saw_order = order, True
        for name in {**state, **self._fields}:
            field = self._fields.setdefault(name, _Field(state.get(name), known=True))
            if field.observed and field.base != state.get(name):
                raise self._conflict(name)
            if field.replays is not None:
                field.observed = True

    def now(self, name: str, *, observe: bool | None, codec: Codec) -> Raw:
        """The field as this transaction sees it; ``observe`` None: seen by the caller unless it is a container."""
        field = self._fields[name]
        if observe is None:
            raw = b"" if field.now is None else codec.plain(field.now, key=self.key, field=_keys.STATE + name)
            observe = raw[:1] not in (b"[", b"{") or raw.startswith(_TAGGED)
        # What the caller put there itself says nothing about other writers.
        field.observed = field.observed or (observe and field.replays is not None)
        return field.now

    def everything(self, order: Iterable[str]) -> dict[str, bytes]:
        """Every field as this transaction sees it, the new ones last."""
        kept = (name for name in order if not self._fields[name].renewed)
        names = dict.fromkeys((*kept, *self._fields))
        return {name: field.now for name in names if (field := self._fields[name]).now is not None}

    def put(self, name: str, raw: Raw) -> None:
        """Set, or delete, the field whatever it holds."""
        self._check_open()
        field = self._fields.setdefault(name, _Field(None, known=False))
        if not field.observed:
            field.replays = None
        self._become(name, field, raw)

    def change(self, name: str, new: Raw, replay: Replay) -> None:
        """Make something else of a field that is known: ``new``, which is what ``replay`` makes of it as it is now."""
        self._check_open()
        field = self._fields[name]
        self._become(name, field, new)
        # On top of a value that this transaction put there, the outcome is certain.
        if field.replays is not None:
            field.replays.append(replay)

    def rebase(self, name: str, raw: Raw) -> None:
        """Another writer came first: change the newest value instead.

        Raises:
            ConflictError: the caller has seen the value that is gone, or the change does not fit the new one.
        """
        field = self._fields[name]
        if field.observed or field.replays is None:
            raise self._conflict(name)
        now = raw
        try:
            for replay in field.replays:
                now = replay(now)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise self._conflict(name) from None
        field.base, field.now = raw, now

    def commit(self, limits: Limits) -> Mutation[int] | None:
        """The call that performs the changes; None where there are none."""
        commit, changes = Commit(), 0
        if self._saw_order:
            commit.expect(_keys.ORDER, self._order)
        for name, field in self._fields.items():
            where = _keys.state_field(name)
            touched = field.replays is None or field.now != field.base
            if field.observed or (field.replays and touched):
                commit.expect(where, field.base)
            if touched:
                changes += 1
                if field.now is None:
                    commit.delete(where)
                elif field.renewed:
                    commit.renew(where, field.now)
                else:
                    commit.set(where, field.now)
        return commit.call(limits, self.key) if changes else None

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigurationError(
                f"The transaction on {self.key} ended while a change of it was under way",
                next_step="Await every change inside the block; this one was not applied",
            )

    def _become(self, name: str, field: _Field, raw: Raw) -> None:
        if field.now is None and raw is not None:
            # It comes into being now, whenever it was first looked for.
            self._fields[name] = self._fields.pop(name)
            field.renewed = field.base is not None
        field.now = raw

    def _conflict(self, name: str) -> ConflictError:
        return ConflictError(
            f"Field {name!r} of {self.key} changed during the transaction",
            next_step="Nothing was written; repeat the transaction",
            key=self.key,
            expected_version=None,
            current_version=None,
            field=_keys.STATE + name,
        )
