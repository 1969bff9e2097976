"""A conversation whose state is held to a schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from redstate import _keys
from redstate._async.contention import AsyncContention
from redstate._async.conversation import AsyncConversation
from redstate._async.record import AsyncRecord
from redstate._async.sealed import replace_sealed
from redstate._async.state import AsyncState
from redstate._async.transaction import AsyncTransaction
from redstate._call import Mutation
from redstate._codec import Codec
from redstate._scope import in_call
from redstate._transactions import pending_of, refuse_inside
from redstate.calls import schema as schema_calls
from redstate.calls import state as state_calls
from redstate.calls.pending import Raw
from redstate.calls.record import Snapshot
from redstate.errors import ConflictError, InvalidValue, WrongType
from redstate.schema.codec import SchemaCodec, schema_codec
from redstate.schema.definition import Schema

S = TypeVar("S")


class AsyncTypedState(AsyncState):
    """Fields that are held to a schema. Obtained as ``conversation.state`` of a conversation with one.

    A change that the schema does not take raises ``InvalidValue`` before anything is sent; its ``path`` and
    ``expected`` say where and what. Values are coerced as pydantic does ("3" becomes 3 in an int field, unless the
    class is strict), and stored as plain data: instances of classes become dicts.

    A number or a list that is absent begins at the field's default. Where the schema judges a number by its size, or a
    list as a whole, ``increment`` and ``append`` read before they write, and try again where anything else of the
    conversation changed in between.
    """

    __slots__ = ("_codec",)

    def __init__(self, record: AsyncRecord, codec: SchemaCodec) -> None:
        super().__init__(record.held_to(codec))
        self._codec = codec

    async def delete(self, *fields: str, op_id: str | None = None, expected_version: int | None = None) -> int:
        """Delete fields. Returns how many there were.

        Raises:
            InvalidValue: one is required, or no field of the schema.
        """
        for name in fields:
            self._codec.removable(name)
        return await super().delete(*fields, op_id=op_id, expected_version=expected_version)

    async def pop(self, field: str, *default: Any) -> Any:
        """Take a field out. Returns what it held, plain; without it ``default``, if one is given.

        Raises:
            InvalidValue: it is required, or no field of the schema.
            KeyError: there is no such field, and no default.
        """
        self._codec.removable(field)
        return await super().pop(field, *default)

    async def increment(
        self, field: str, by: int = 1, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Add a whole number to a field; an absent one counts as its default, or 0. Returns the new value.

        Raises:
            InvalidValue: the schema has no such field, or does not take the sum.
            WrongType: the field holds no whole number, or the sum would leave 64 bits.
        """
        record, codec = self._record, self._codec
        if codec.rule(field).adds:
            return await super().increment(field, by, op_id=op_id, expected_version=expected_version)
        state_calls.check_addend(field, by)
        pending = pending_of(record.scope)
        if pending is None and not codec.counts(field):
            summed = schema_calls.summed(codec, record.key, field, by, op_id)
            return (await replace_sealed(record, field, summed, op_id, expected_version))[1]
        if pending is not None:
            raw = await self._fetch(field, observe=True)
            value = schema_calls.added(codec, record.key, field, raw, by)
            pending.put(field, codec.stored(b"%d" % value, _keys.STATE + field))
            return value

        plain = state_calls.increment(codec, record.key, field, by)

        def judged(raw: Raw) -> Mutation[int]:
            total = schema_calls.added(codec, record.key, field, raw, by)
            held = state_calls.incremented(codec, record.key, field, raw, 0)
            return state_calls.increment(codec, record.key, field, total - held)

        return await self._judge(field, judged, plain, op_id, expected_version)

    async def append(
        self, field: str, item: Any, *, op_id: str | None = None, expected_version: int | None = None
    ) -> int:
        """Append an item to a list; an absent one counts as its default, or empty. Returns the conversation's version.

        Raises:
            InvalidValue: the schema has no such field, or does not take the item.
            WrongType: the field holds no list.
            TooLarge: the list would exceed the cap on a value's bytes.
        """
        record, codec = self._record, self._codec
        if codec.rule(field).splices:
            return await super().append(field, item, op_id=op_id, expected_version=expected_version)
        if pending_of(record.scope) is not None:

            def replay(raw: Raw) -> tuple[Raw, None]:
                return codec.encode(schema_calls.lengthened(codec, record.key, field, raw, item), field), None

            await self._replace(field, replay, observe=False)
            return 0

        def judged(raw: Raw) -> Mutation[int]:
            value = schema_calls.lengthened(codec, record.key, field, raw, item)
            return state_calls.assign(codec, record.key, {field: value})

        never = state_calls.assign(Codec(codec.limits), record.key, {field: None})
        return await self._judge(field, judged, never, op_id, expected_version)

    async def edit(self, field: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """As without a schema; the result is what was stored, which the schema may have made of the new value.

        Raises:
            InvalidValue: the schema has no such field, or does not take the new value.
            ConflictError: others came first for as long as a call may take.
        """
        codec, key = self._codec, self._record.key
        value = await self._replace(field, schema_calls.edited(codec, key, field, change, default))
        self._replaced(field)
        return value

    async def _judge(
        self,
        field: str,
        judged: Callable[[Raw], Mutation[int]],
        never: Mutation[int],
        op_id: str | None,
        expected_version: int | None,
    ) -> int:
        """Change a field at the version at which the schema judged the change.

        Args:
            field: which.
            judged: makes the change of the field's bytes, or refuses it.
            never: a change of the same kind, which asks for the result of an earlier one under ``op_id``.
            op_id: as given.
            expected_version: as given.
        """
        record = self._record
        contention = AsyncContention(record.key, record.timeout)
        while await contention.another():
            raw, version = await record.read(schema_calls.field_and_version(record.key, field), fresh=True)
            try:
                call = judged(raw)
            except (InvalidValue, WrongType):
                if op_id is not None or in_call():
                    # Perhaps the operation took effect long ago: its repeat gets the first result, not a judgement.
                    try:
                        return await record.apply(never, op_id, schema_calls.NEVER)
                    except ConflictError:
                        pass
                raise
            try:
                return await record.apply(call, op_id, version if expected_version is None else expected_version)
            except ConflictError:
                if expected_version is not None:
                    raise
        raise AssertionError("another() ends by raising")

    async def _commit_whole(self, snapshot: Snapshot, drops: Iterable[str], seen: Mapping[str, bytes]) -> bool:
        for name in drops:
            self._codec.removable(name)
        return await super()._commit_whole(snapshot, drops, seen)

    async def _stored(self, *, fresh: bool = False, min_version: int | None = None) -> schema_calls.Stored:
        """The record, its state as the running code's transaction sees it."""
        fresh = fresh or pending_of(self._record.scope) is not None
        stored = await self._record.read(schema_calls.read(self._record.key), fresh=fresh, min_version=min_version)
        # Where nothing is, what comes first will be of this version, whatever was there before.
        fits = stored.fits if stored.snapshot.state else self._codec.schema.version
        return schema_calls.Stored(self._seen(stored.snapshot), fits)


class AsyncTypedConversation(AsyncConversation, Generic[S]):
    """A conversation whose state is held to a schema. Obtained as ``store.conversation(id, schema=Shop)``.

    Its state takes only what the schema takes. The fields may come one by one: that a required one is still missing
    shows when the state is read as a whole. Cart, session and workflows are as ever.

    Attributes:
        schema: what its state is held to.
    """

    __slots__ = ("_codec", "schema")
    _state: AsyncTypedState
    state: AsyncTypedState

    def __init__(self, plain: AsyncConversation, schema: Schema[S]) -> None:
        # All but the state is that of the plain one, whatever it has.
        for name in AsyncConversation.__slots__:
            setattr(self, name, getattr(plain, name))
        self.schema = schema
        self._codec = schema_codec(schema, plain._record.codec)
        self._state = AsyncTypedState(plain._record, self._codec)

    @property
    def if_logged_in(self) -> AsyncTypedConversation[S]:
        """The same conversation for a user who is logged in, as :attr:`AsyncConversation.if_logged_in`."""
        return AsyncTypedConversation(super().if_logged_in, self.schema)

    def transaction(self) -> AsyncTransaction:
        """Group changes of the state into one script, all or nothing; see :class:`AsyncTransaction`."""
        return AsyncTransaction(self.state._record)

    async def typed(self, *, fresh: bool = False, min_version: int | None = None) -> S:
        """The whole state at one version as an instance of the schema's class; yours, and not live.

        Fields that are absent have their defaults. State that older workers wrote comes through the upcasters; nothing
        is written. Fields that the class does not have are left out.

        Args:
            fresh, min_version: as for ``state.get``: local memory may answer by default.

        Raises:
            SchemaMismatch: the state does not fit: a required field is missing, or something that was written past the
                schema is of another type; ``path`` and ``expected`` say which.
        """
        stored = await self.state._stored(fresh=fresh, min_version=min_version)
        return schema_calls.instance(self._codec, self.schema, self.key, stored)

    async def upgrade(self) -> bool:
        """Write down what the upcasters make of older state, and raise its schema version, in one change.

        Only for the time when no worker of an older version is left: the record does not tell them that it was raised.
        They would read defaults where fields were dropped, and what they write makes the whole count as theirs again,
        so that the upcasters run once more on what they have made already.

        Returns whether there was something to raise.

        Raises:
            InvalidValue: an upcaster made what the schema does not take; nothing was written.
            ConflictError: others changed the conversation for as long as a call may take.
        """
        record = self._record
        refuse_inside(record.scope, "upgrade()")
        contention = AsyncContention(record.key, record.timeout)
        while await contention.another():
            stored = await self.state._stored(fresh=True)
            commit = schema_calls.upgrade(self._codec, record.codec, self.key, stored)
            if commit is None:
                await record.nothing_to_do()
                return False
            try:
                await record.apply(commit.call(record.codec.limits, self.key), None, stored.snapshot.version)
            except ConflictError:
                continue
            return True
        raise AssertionError("another() ends by raising")
