"""Performs calls on one record: gives a change its identity, sends it, and makes its result or its error."""

from __future__ import annotations

import copy
from typing import TypeVar

from redstate._call import Mutation, Query, guards
from redstate._codec import Codec
from redstate._replies import ReplyError, mutation_error, query_error
from redstate._transactions import refuse_inside
from redstate.calls import record as record_calls
from redstate.errors import CallTimeout, CorruptState, InvalidInput, OutcomeUnknown
from redstate.schema.codec import SchemaCodec
from redstate.transport.aio import AsyncTransport
from redstate.transport.base import ReplyLost, pack_words
from redstate.transport.turns import LoopWriters

T = TypeVar("T")


class AsyncRecord:
    """What the handles of one conversation share.

    Attributes:
        key: the record.
        codec: encodes values under the store's limits.
        ttl_ms: the expiry that each change sets, in milliseconds.
        timeout: seconds that a call may take.
        scope: tells it from the records of other stores, and from its own changes under other conditions.
    """

    __slots__ = (
        "_conditional",
        "_key_word",
        "_logged_in",
        "_schema",
        "_transport",
        "_ttl_word",
        "_writers",
        "codec",
        "key",
        "scope",
        "timeout",
        "ttl_ms",
    )

    def __init__(
        self, key: str, codec: Codec, transport: AsyncTransport, writers: LoopWriters, ttl_ms: int, timeout: float
    ) -> None:
        self.key = key
        self.scope = (id(transport), key, False, "")
        self.codec = codec
        self.ttl_ms = ttl_ms
        self._transport = transport
        self._writers = writers
        self.timeout = timeout
        self._key_word = key.encode()
        self._ttl_word = b"%d" % ttl_ms
        self._logged_in = False
        self._schema = ""
        self._conditional = False

    def if_logged_in(self) -> AsyncRecord:
        """The same record, whose changes are refused unless a session is live."""
        guarded = copy.copy(self)
        guarded._logged_in = guarded._conditional = True
        guarded.scope = (*self.scope[:2], True, self.scope[3])
        return guarded

    def held_to(self, codec: SchemaCodec) -> AsyncRecord:
        """The same record, whose state is held to a schema."""
        typed = copy.copy(self)
        typed.codec = codec
        typed._write_as(codec.schema.versions)
        return typed

    def written_by(self, versions: str) -> AsyncRecord:
        """The same record, whose changes are stamped as a schema's; ``versions`` are its eight digits."""
        stamped = copy.copy(self)
        stamped._write_as(versions)
        return stamped

    def _write_as(self, versions: str) -> None:
        self._schema = versions
        self._conditional = True
        self.scope = (*self.scope[:3], versions)

    async def apply(
        self,
        call: Mutation[T],
        op_id: str | None = None,
        expected_version: int | None = None,
        ttl_ms: int | None = None,
    ) -> T:
        """Change the record, at most once.

        Args:
            call: the change.
            op_id: repeats the operation of that id; a new operation without.
            expected_version: apply only at this version; 0 means that there must be no record.
            ttl_ms: the record's expiry in place of the handle's.
        """
        refuse_inside(self.scope, call.script.name)
        writers = self._writers
        timeout = self.timeout
        operation = writers.begin(call.key) if op_id is None else writers.repeat(call.key, op_id)
        if operation is None:
            operation, timeout = await writers.turn(call.key, timeout)
        try:
            # Most changes have no condition: not one more call for them.
            conditions = ""
            if expected_version is not None or self._conditional:
                conditions = self._conditions(expected_version)
            script = call.script
            ttl = self._ttl_word if ttl_ms is None else str(ttl_ms)
            words = (self._key_word, operation.journal, operation.op, ttl, conditions)
            packed = pack_words(script.evalsha + words + call.args)
            reply = await self._transport.call(packed, timeout, script)
        except ReplyLost:
            writers.unknown(operation)
            raise OutcomeUnknown(
                f"{script.name} on {call.key} was sent and not answered within {self.timeout:g} s",
                op_id=operation.op_id,
                key=call.key,
            ) from None
        except BaseException:
            # Never sent, or the caller gave up waiting and has no id to ask with: no result is owed.
            writers.settle(operation)
            raise
        writers.settle(operation)
        try:
            if type(reply) is not ReplyError:
                return call.parse(reply)
            error = mutation_error(reply, call, operation, expected_version)
        except ValueError:
            # A number that is none can only come out of the record.
            raise CorruptState(f"{call.key} holds bytes that redstate did not write", key=call.key, field="") from None
        raise error

    def _conditions(self, expected_version: int | None) -> str:
        """What must hold for a change through this handle, in one word."""
        if expected_version is not None and (type(expected_version) is not int or expected_version < 0):
            raise InvalidInput("expected_version must be an int, 0 or above")
        return guards(expected_version=expected_version, logged_in=self._logged_in, schema=self._schema)

    async def ask(self, call: Query[T]) -> T:
        """Perform a call that may be repeated freely."""
        try:
            reply = await self._transport.call(pack_words(call.words), self.timeout, call.script)
        except ReplyLost:
            raise CallTimeout(f"A call on {call.key} was not answered within {self.timeout:g} s") from None
        if type(reply) is ReplyError:
            raise query_error(reply, call)
        return call.parse(reply)

    async def snapshot(self) -> record_calls.Snapshot:
        """The whole record at one version."""
        return await self.ask(record_calls.snapshot(self.key))
