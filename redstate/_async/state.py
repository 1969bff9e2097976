"""The state of a conversation: named fields of any supported value, each change one atomic script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from redstate import _keys
from redstate._async.contention import AsyncContention
from redstate._async.record import AsyncRecord
from redstate._async.sealed import append_sealed, replace_sealed
from redstate._transactions import in_any_transaction, pending_of, transactions
from redstate.calls import record as record_calls
from redstate.calls import state as state_calls
from redstate.calls.commit import Commit
from redstate.calls.pending import Raw
from redstate.calls.record import Snapshot
from redstate.calls.state import ABSENT, MISSING, UNCACHED, UNREAD, Unread
from redstate.errors import ConflictError
from redstate.live.base import AsyncStateBase
from redstate.nearcache.clock import clock

T = TypeVar("T")


class AsyncState(AsyncStateBase):
    """Fields of a conversation. Obtained as ``conversation.state``.

    Changes of named fields take two keyword arguments: ``op_id`` repeats an earlier operation, or names this one, so
    that it runs at most once; ``expected_version`` applies the change only while the conversation is at that version
    (0: only if it does not exist). Inside a transaction they are refused, and versions are 0.

    Every change can raise what :mod:`redstate.errors` draws: ``InvalidInput`` before anything is sent, ``Rejected``
    with nothing written, ``OutcomeUnknown`` with the ``op_id`` to repeat it by, and ``StoreError``.
    """

    __slots__ = ("_record",)

    def __init__(self, record: AsyncRecord) -> None:
        self._record = record

    async def get(self, field: str, default: Any = None, *, fresh: bool = False, min_version: int | None = None) -> Any:
        """The value of a field, or ``default``.

        Args:
            field: which.
            default: what to return where there is no such field.
            fresh: ask the server; otherwise local memory may answer, within the store's ``max_staleness``.
            min_version: ask the server unless local memory has the conversation at this version or a later one.

        Raises:
            CorruptState: the field holds bytes that redstate did not write.
        """
        if not fresh and min_version is None:
            value = self._glance(field)
            if value is not UNCACHED:
                return default if value is ABSENT else value
        raw = await self._fetch(field, observe=self._observes, fresh=fresh, min_version=min_version)
        return default if raw is None else self._present(field, raw)

    def peek(self, field: str, default: Any = None) -> Any:
        """The value of a field from local memory, without I/O.

        Returns:
            the value, plain and the caller's own; ``default`` where there is no such field; ``redstate.UNCACHED`` where
            local memory cannot say, also inside a transaction. Then ``get`` it, which lets memory know, too.

        Raises:
            CorruptState: the field holds bytes that redstate did not write.
        """
        value = self._glance(field)
        if value is ABSENT:
            return default
        if value is not UNCACHED:
            return value
        record = self._record
        image = None if in_any_transaction() else record.held()
        raw = None if image is None else image.fields.get(_keys.state_field(field).encode())
        if raw is None:
            return UNCACHED
        record.copies.counters.hits += 1
        return record.codec.decode(raw, key=record.key, field=_keys.STATE + field)

    async def all(self, *, fresh: bool = False, min_version: int | None = None) -> dict[str, Any]:
        """Every field in the order in which they came, of one version, as plain data that is the caller's own.

        Args:
            fresh, min_version: as for ``get``.
        """
        record = self._record
        found = await self._all_raw(fresh=fresh, min_version=min_version)
        return state_calls.everything(record.codec, record.key, found)

    async def set(
        self, field: str, value: Any, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Set a field. Returns the conversation's new version."""
        return await self._assign({field: value}, op_id, expected_version)

    async def update(
        self,
        values: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
        /,
        *,
        op_id: str | None = None,
        expected_version: int | None = None,
        **fields: Any,
    ) -> int:
        """Set several fields, all or none. Returns the conversation's new version.

        Args:
            values: fields by name, also such as are no Python names.
            fields: further ones, as keywords.
        """
        merged = fields if values is None else {**state_calls.checked_mapping(values), **fields}
        return await self._assign(merged, op_id, expected_version)

    async def delete(self, *fields: str, op_id: str | None = None, expected_version: int | None = None) -> int:
        """Delete fields. Returns how many there were."""
        record = self._record
        call = state_calls.delete(record.codec, record.key, fields)
        pending = pending_of(record.scope)
        if pending is None or op_id is not None or expected_version is not None:
            removed = await record.apply(call, op_id, expected_version)
            self._replaced(*fields)
            return removed
        there = [name for name in dict.fromkeys(fields) if await self._fetch(name, observe=True) is not None]
        for name in there:
            pending.put(name, None)
        self._replaced(*fields)
        return len(there)

    async def increment(
        self, field: str, by: int = 1, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Add a whole number to a field; an absent one counts as 0. Returns the new value.

        Raises:
            WrongType: the field holds no whole number, or the sum would leave 64 bits; or it is encrypted, and there is
                an ``op_id``.
        """
        record, codec = self._record, self._record.codec
        pending = pending_of(record.scope)
        alone = pending is None or op_id is not None or expected_version is not None
        if alone and codec.counts(field):
            return await record.apply(state_calls.increment(codec, record.key, field, by), op_id, expected_version)
        counted = state_calls.counted(codec, record.key, field, by, op_id)
        if alone or pending is None:
            return (await replace_sealed(record, field, counted, op_id, expected_version))[1]
        new, value = counted(await self._fetch(field, observe=True))
        pending.put(field, new)
        return value

    async def append(
        self, field: str, item: Any, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Append an item to a list; an absent one counts as empty. Returns the conversation's new version.

        Raises:
            WrongType: the field holds no list.
            TooLarge: the list would exceed the cap on a value's bytes.
        """
        record, codec = self._record, self._record.codec
        alone = pending_of(record.scope) is None or op_id is not None or expected_version is not None
        if codec.splices(field):
            call = state_calls.extend(codec, record.key, field, (item,))
            if alone:
                return await record.apply(call, op_id, expected_version)
        extended = state_calls.extended(codec, record.key, field, (item,))
        if alone:
            return await append_sealed(record, field, extended, op_id, expected_version)
        await self._replace(field, extended, observe=False)
        return 0

    async def edit(self, field: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Make a new value of a field's newest one, atomically. Returns the new value, plain.

        Args:
            field: which.
            change: takes the value (yours to change) and returns the new one. Where another writer comes first it is
                called again with theirs, so it should do nothing else.
            default: the value of an absent field.

        Raises:
            ConflictError: others came first for as long as a call may take.
        """
        record = self._record
        value = await self._replace(field, state_calls.edited(record.codec, record.key, field, change, default))
        self._replaced(field)
        return value

    async def pop(self, field: str, default: Any = MISSING, /) -> Any:
        """Take a field out. Returns what it held, plain; without it ``default``, if one is given.

        Raises:
            KeyError: there is no such field, and no default.
        """
        record = self._record
        raw = await self._replace(field, lambda raw: (None, raw))
        self._replaced(field)
        if raw is None:
            if default is MISSING:
                raise KeyError(field)
            return default
        return record.codec.decode(raw, key=record.key, field=_keys.STATE + field)

    async def popitem(self) -> tuple[str, Any]:
        """Take the newest field out. Returns its name and what it held.

        Raises:
            KeyError: there is none.
        """
        record = self._record
        contention = AsyncContention(record.key, record.timeout)
        while await contention.another():
            snapshot = await self._all_raw(fresh=True)
            if not snapshot.state:
                await record.nothing_to_do()
                raise KeyError("popitem(): dictionary is empty")
            name, raw = next(reversed(snapshot.state.items()))
            if await self._commit_whole(snapshot, [name], {name: raw}):
                break
        self._replaced(name)
        return name, record.codec.decode(raw, key=record.key, field=_keys.STATE + name)

    async def setdefault(self, field: str, default: Any = None, /) -> Any:
        """The value of a field; where it is absent it is set to ``default`` first."""
        record = self._record
        encoded = record.codec.encode(default, field)
        raw = await self._replace(field, lambda raw: (encoded, encoded) if raw is None else (raw, raw))
        return self._present(field, raw)

    async def clear(self) -> None:
        """Take every field out."""
        contention = AsyncContention(self._record.key, self._record.timeout)
        while await contention.another():
            snapshot = await self._all_raw(fresh=True)
            if not snapshot.state:
                await self._record.nothing_to_do()
                return
            if await self._commit_whole(snapshot, snapshot.state, {}):
                self._replaced(*snapshot.state)
                return

    async def has(self, field: str, *, fresh: bool = False, min_version: int | None = None) -> bool:
        """Whether there is such a field.

        Args:
            fresh, min_version: as for ``get``.
        """
        return await self._fetch(field, observe=True, fresh=fresh, min_version=min_version) is not None

    # What the other handles of the state are made of

    async def _assign(self, values: Mapping[str, Any], op_id: str | None, expected_version: int | None) -> int:
        record = self._record
        if not values:
            await record.nothing_to_do()
            return await record.read(record_calls.version(record.key), fresh=True)
        call = state_calls.assign(record.codec, record.key, values)
        pending = pending_of(record.scope)
        version = 0
        if pending is None or op_id is not None or expected_version is not None:
            version = await record.apply(call, op_id, expected_version)
        else:
            for name, value in values.items():
                pending.put(name, record.codec.encode(value, name))
        self._replaced(*values)
        return version

    def _glance(self, field: str) -> Any:
        """The value of a field from local memory, if it is one that cannot be changed.

        Returns:
            the value; ABSENT where there is no such field; UNCACHED where it takes a longer look.
        """
        # Record.held() and in_any_transaction(), spelled out: they are in the way of every hot read.
        record = self._record
        copies = record.copies
        holding = copies.lookup(record.key)
        if holding is None or transactions():
            return UNCACHED
        image, now = holding.copy, clock()
        oldest = now - record.local.longest
        if image is None or image.since <= oldest or copies.echo <= oldest or image.until <= now:
            return UNCACHED
        try:
            value = image.values.get(field, UNCACHED)
        except TypeError:
            return UNCACHED  # no name at all, as the longer look will say
        if value is UNCACHED:
            value = state_calls.remembered(record.codec, record.key, field, image)
            if value is UNCACHED:
                return UNCACHED
        copies.counters.hits += 1
        return value

    async def _fetch(
        self, field: str, *, observe: bool | None, fresh: bool = False, min_version: int | None = None
    ) -> Raw:
        """A field's bytes.

        Args:
            field: which.
            observe: whether the caller sees the value itself, which must last a transaction then; None: only if it is
                no container, as that is seen through further reads.
            fresh, min_version: as for ``get``. A transaction reads what the server holds, which must last.
        """
        record = self._record
        pending = pending_of(record.scope)
        if pending is None:
            return await record.read(state_calls.fetch(record.key, field), fresh=fresh, min_version=min_version)
        if not pending.knows(field):
            pending.load(field, await record.read(state_calls.fetch(record.key, field), fresh=True))
        return pending.now(field, observe=observe, codec=record.codec)

    async def _all_raw(self, *, fresh: bool = False, min_version: int | None = None) -> Snapshot:
        """The record, its state as the running code's transaction sees it."""
        fresh = fresh or pending_of(self._record.scope) is not None
        return self._seen(await self._record.snapshot(fresh=fresh, min_version=min_version))

    def _seen(self, snapshot: Snapshot) -> Snapshot:
        pending = pending_of(self._record.scope)
        if pending is not None:
            pending.load_all(snapshot.state, snapshot.field_order)
            snapshot = snapshot.with_state(pending.everything(snapshot.state))
        return snapshot

    async def _replace(
        self,
        field: str,
        change: Callable[[Raw], tuple[Raw, T]],
        guess: Raw | Unread = UNREAD,
        *,
        observe: bool = True,
    ) -> T:
        """Make new bytes of a field's newest ones: compare and set, again and again until nobody else came first.

        Args:
            field: which.
            change: the new bytes and the result; called again for other bytes.
            guess: what the field held when it was last looked at; a first attempt may go out without reading.
            observe: whether the result tells the caller something about the value.
        """
        record, where = self._record, _keys.state_field(field)
        pending = pending_of(record.scope)
        if pending is not None:
            new, result = change(await self._fetch(field, observe=observe))
            pending.change(field, new, lambda raw: change(raw)[0])
            return result
        contention = AsyncContention(record.key, record.timeout)
        image = record.held() if guess is UNREAD else None
        guess = guess if image is None else image.fields.get(where.encode())
        while await contention.another():
            fresh = guess is UNREAD
            raw = await self._fetch(field, observe=True, fresh=True) if isinstance(guess, Unread) else guess
            guess = UNREAD
            try:
                new, result = change(raw)
            except Exception:
                # On what is perhaps not the newest value, an error proves nothing; nor does it if nothing changes.
                if fresh:
                    await record.nothing_to_do()
                    raise
                continue
            if new == raw:
                if fresh:
                    await record.nothing_to_do()
                    return result
                continue
            commit = Commit().expect(where, raw)
            commit = commit.delete(where) if new is None else commit.set(where, new)
            try:
                await record.apply(commit.call(record.codec.limits, record.key))
                return result
            except ConflictError as conflict:
                if conflict.field is None:
                    raise
        raise AssertionError("another() ends by raising")

    async def _commit_whole(self, snapshot: Snapshot, drops: Iterable[str], seen: Mapping[str, bytes]) -> bool:
        """Delete fields if there are still the same ones, and ``seen`` hold what they did. Returns whether so."""
        record = self._record
        pending = pending_of(record.scope)
        if pending is not None:
            for name in drops:
                pending.put(name, None)
            return True
        commit = Commit().expect(_keys.ORDER, snapshot.field_order)
        for name, raw in seen.items():
            commit.expect(_keys.state_field(name), raw)
        for name in drops:
            commit.delete(_keys.state_field(name))
        try:
            await record.apply(commit.call(record.codec.limits, record.key))
        except ConflictError as conflict:
            if conflict.field is None:
                raise
            return False
        return True
