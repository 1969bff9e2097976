# Generated from redstate/_async/record.py by tools/generate_sync.py. Do not edit: edit that file.
"""Performs calls on one record: gives a change its identity, sends it, and makes its result or its error."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any, TypeVar

from redstate._call import UNDECIDED, Mutation, Query, Read, guards, previous_of, version_of
from redstate._codec import Codec
from redstate._replies import ReplyError, mutation_error, query_error
from redstate._scope import Scope, current, in_call
from redstate._transactions import pending_of, refuse_inside
from redstate._writers import Operation
from redstate.calls import image as image_calls
from redstate.calls import record as record_calls
from redstate.calls.commit import Commit
from redstate.calls.image import Image
from redstate.errors import CallTimeout, CorruptState, InvalidInput, OperationMismatch, OutcomeUnknown, StoreError
from redstate.nearcache.clock import clock
from redstate.nearcache.copies import Local
from redstate.nearcache.holding import Fill, Flight
from redstate.nearcache.joining import ThreadFetch, ThreadJoins
from redstate.schema.codec import SchemaCodec
from redstate.transport.base import ReplyLost, pack_words
from redstate.transport.sync import SyncTransport
from redstate.transport.turns import ThreadWriters

T = TypeVar("T")


class Record:
    """What the handles of one conversation share.

    Attributes:
        key: the record.
        codec: encodes values under the store's limits.
        ttl_ms: the expiry that each change sets, in milliseconds; ``KEPT`` sets none.
        timeout: seconds that a call may take.
        scope: tells it from the records of other stores, and from its own changes under other conditions.
        origin: tells it from the records of other stores.
        local: the near cache.
        copies: what is in it.
    """

    __slots__ = (
        "_conditional",
        "_joins",
        "_key_word",
        "_logged_in",
        "_schema",
        "_transport",
        "_ttl_word",
        "_writers",
        "codec",
        "copies",
        "key",
        "local",
        "origin",
        "scope",
        "timeout",
        "ttl_ms",
    )

    def __init__(
        self,
        key: str,
        codec: Codec,
        transport: SyncTransport,
        writers: ThreadWriters,
        ttl_ms: int,
        timeout: float,
        local: Local,
        joins: ThreadJoins,
    ) -> None:
        self.key = key
        self.origin = (id(transport), key)
        self.scope = (*self.origin, False, "")
        self.codec = codec.bound_to(key)
        self.ttl_ms = ttl_ms
        self._transport = transport
        self._writers = writers
        self.timeout = timeout
        self.local = local
        self.copies = local.copies
        self._joins = joins
        self._key_word = key.encode()
        self._ttl_word = record_calls.ttl_word(ttl_ms).encode()
        self._logged_in = False
        self._schema = ""
        self._conditional = False

    def if_logged_in(self) -> Record:
        """The same record, whose changes are refused unless a session is live."""
        guarded = copy.copy(self)
        guarded._logged_in = guarded._conditional = True
        guarded.scope = (*self.origin, True, self.scope[3])
        return guarded

    @property
    def guarded(self) -> bool:
        """Whether its changes need a live session."""
        return self._logged_in

    def held_to(self, codec: SchemaCodec) -> Record:
        """The same record, whose state is held to a schema."""
        typed = copy.copy(self)
        typed.codec = codec
        typed._write_as(codec.schema.versions)
        return typed

    def written_by(self, versions: str) -> Record:
        """The same record, whose changes are stamped as a schema's; ``versions`` are its eight digits."""
        stamped = copy.copy(self)
        stamped._write_as(versions)
        return stamped

    def _write_as(self, versions: str) -> None:
        self._schema = versions
        self._conditional = True
        self.scope = (*self.scope[:3], versions)

    def apply(
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
        copies = self.copies
        flight: Flight | None = None
        scope = current.get()
        alone = op_id is None and (scope is None or scope.call is None)
        operation = writers.begin(call.key) if alone else self._named(call.key, op_id, scope)
        if operation is None:
            operation, timeout = writers.turn(call.key, timeout)
        try:
            # A change of what is in memory is made there, too, as long as nobody else changed it in between.
            if copies.connected:
                flight = copies.take_off(call.key)
            # Most changes have no condition but their owner's: no text is made for them.
            if expected_version is not None or self._conditional:
                conditions = self._conditions(expected_version, scope)
            else:
                conditions = "" if scope is None else scope.conditions(call.key)
            script = call.script
            ttl = self._ttl_word if ttl_ms is None else str(ttl_ms)
            words = (self._key_word, operation.journal, operation.op, ttl, conditions)
            packed = pack_words(script.evalsha + words + call.args)
            reply = self._transport.call(packed, timeout, script)
        except ReplyLost:
            copies.crash(flight, call.key)
            raise self._unknown(call, operation) from None
        except BaseException as failure:
            # Never sent, or the caller gave up waiting and has no id to ask with: no result is owed.
            writers.settle(operation)
            copies.crash(flight, call.key)
            if scope is not None and isinstance(failure, StoreError):
                scope.refused(operation, failure)
            raise
        writers.settle(operation)
        try:
            if type(reply) is not ReplyError:
                if copies.connected:
                    self._landed(call, reply, flight, self.ttl_ms if ttl_ms is None else ttl_ms)
                return call.parse(reply)
            error = mutation_error(reply, call, operation, expected_version)
        except ValueError:
            # A number that is none can only come out of the record.
            error = CorruptState(f"{call.key} holds bytes that redstate did not write", key=call.key, field="")
        copies.crash(flight, call.key)
        raise error if scope is None else scope.refused(operation, error)

    def _named(self, key: str, op_id: str | None, scope: Scope | None) -> Operation | None:
        """The operation of a change that its caller named, or that is a tool call's; None while too many are open."""
        if op_id is not None:
            if scope is not None:
                scope.refuse_late(key)
            return self._writers.repeat(key, op_id)
        operation = None if scope is None else scope.begin(key)
        return self._writers.begin(key) if operation is None else operation

    def nothing_to_do(self) -> None:
        """A change turned out to be none.

        In a tool call it takes its place among the call's changes all the same: run again, the call may find what it
        has done itself, and all further changes must keep their names.
        """
        if in_call() and pending_of(self.scope) is None:
            with contextlib.suppress(OperationMismatch):  # the first time it was another kind of change
                self.apply(Commit().nothing().call(self.codec.limits, self.key))

    def _unknown(self, call: Mutation[T], operation: Operation) -> OutcomeUnknown:
        """What to raise where no answer came."""
        self._writers.unknown(operation)
        return OutcomeUnknown(
            f"{call.script.name} on {call.key} was sent and not answered within {self.timeout:g} s",
            op_id=operation.op_id,
            key=call.key,
        )

    def _conditions(self, expected_version: int | None, scope: Scope | None) -> str:
        """What must hold for a change through this handle, in one word."""
        if expected_version is not None and (type(expected_version) is not int or expected_version < 0):
            raise InvalidInput("expected_version must be an int, 0 or above")
        return guards(
            None if scope is None else scope.fence(self.key),
            None if scope is None else scope.deadline_us(),
            expected_version,
            logged_in=self._logged_in,
            schema=self._schema,
        )

    def _landed(self, call: Mutation[T], answer: bytes, flight: Flight | None, ttl_ms: int) -> None:
        """Have every read of this process from now on see the change."""
        copies = self.copies
        if flight is None and not copies.holds(call.key):
            return
        version, previous = version_of(answer), previous_of(answer)

        def made(image: Image) -> Image | None:
            # Under conditions the script slides a session or stamps a schema, too.
            if call.effect is None or self._conditional or flight is None or image.version != previous:
                return None
            changed = call.effect(call.args, image.fields, answer)
            ttl = ttl_ms / 1000 if ttl_ms else math.inf
            return None if changed is None else image.after(changed, version, flight.sent, ttl)

        copies.land(flight, call.key, version, made)

    def ask(self, call: Query[T]) -> T:
        """Perform a call that may be repeated freely. It is sent to the server."""
        return call.parse(self._reply(call))

    def ask_all(self, calls: list[Query[T]]) -> list[T]:
        """As ``ask``, of several calls that are sent in one go; none is answered with nil, and all are of one script.

        Raises:
            CorruptState: an answer is none that redstate can have caused.
        """
        if not calls:
            return []
        packed = [pack_words(call.words) for call in calls]
        try:
            replies = self._transport.call_all(packed, self.timeout, calls[0].script)
        except ReplyLost:
            raise self._unanswered(calls[0]) from None
        return [_answer(call, reply) for call, reply in zip(calls, replies, strict=True)]

    def read(self, call: Read[T], *, fresh: bool = False, min_version: int | None = None) -> T:
        """Read the record: from memory where that is good enough, else from the server.

        Args:
            call: what of it.
            fresh: whether to ask the server in any case.
            min_version: the version that a copy must have at least.
        """
        copies = self.copies
        if not fresh:
            image = self.held()
            if image is not None:
                copies.counters.hits += 1
            else:
                image = self._fetched()
            if image is not None and min_version is not None and image.version < min_version:
                copies.counters.bypassed("min_version")
            elif image is not None:
                found = call.of_image(image, clock())
                if found is not UNDECIDED:
                    return found
                copies.counters.bypassed("undecided")
        else:
            copies.counters.bypassed("fresh")
        version, result = call.answer(self._reply(call))
        # From here on no older copy is served: what a process has seen it does not unsee.
        copies.observed(self.key, version)
        return result

    def held(self) -> Image | None:
        """The image in memory, if it may be served now."""
        # As Local.servable, spelled out: it is in the way of every read from memory.
        holding = self.copies.lookup(self.key)
        if holding is None:
            return None
        image, now = holding.copy, clock()
        oldest = now - self.local.longest
        if image is None or image.since <= oldest or self.copies.echo <= oldest or image.until <= now:
            return None
        found: Image = image
        return found

    def _fetched(self) -> Image | None:
        """The image from the server, kept for the next reads; None where it is not to be kept."""
        longest = self.local.longest
        if not longest:
            self.copies.counters.bypassed("off")
            return None
        began = clock()
        deadline = began + self.timeout
        joined: Image | None = self._joins.join(
            self.key, self.copies.lookup(self.key), oldest=began - longest, deadline=deadline
        )
        # It may have been on its way for long.
        if joined is not None and joined.since > clock() - longest:
            self.copies.counters.joins += 1
            return joined
        fill: Fill | None = self.copies.begin(self.key, longest)
        if fill is None:
            return None
        fill.patience = max(0.001, deadline - fill.since)
        fetch, image = ThreadFetch(fill), None
        try:
            # In here: an interrupt must not leave it to others to wait for what nobody fetches.
            self._joins.lead(fetch)
            call = image_calls.read(self.key, fill.since)
            reply = self._exchange(call, fill.patience)
            if type(reply) is ReplyError:
                return None  # the read itself will be refused, and says what it was after
            image = call.parse(reply)
            image.received = clock()
            self.copies.complete(fill, image)
            return image
        finally:
            self._joins.done(fetch, image)

    def refreshed(self) -> Image:
        """The image from the server, kept for the next reads where that can be."""
        longest = self.local.longest
        fill = self.copies.begin(self.key, longest) if longest else None
        image = self.ask(image_calls.read(self.key, clock() if fill is None else fill.since))
        image.received = clock()
        if fill is not None:
            self.copies.complete(fill, image)
        else:
            self.copies.observed(self.key, image.version)
        return image

    def _reply(self, call: Query[T]) -> Any:
        reply = self._exchange(call, self.timeout)
        if type(reply) is ReplyError:
            raise query_error(reply, call)
        return reply

    def _exchange(self, call: Query[T], timeout: float) -> Any:
        try:
            return self._transport.call(pack_words(call.words), timeout, call.script)
        except ReplyLost:
            raise self._unanswered(call) from None

    def _unanswered(self, call: Query[Any]) -> CallTimeout:
        return CallTimeout(f"A call on {call.key} was not answered within {self.timeout:g} s")

    def snapshot(self, *, fresh: bool = False, min_version: int | None = None) -> record_calls.Snapshot:
        """The whole record at one version; nobody may change its dicts."""
        return self.read(record_calls.snapshot(self.key), fresh=fresh, min_version=min_version)


def _answer(call: Query[T], reply: Any) -> T:
    if type(reply) is ReplyError:
        raise query_error(reply, call)
    try:
        return call.parse(reply)
    except (ValueError, ArithmeticError):
        raise CorruptState(f"{call.key} holds what redstate did not write", key=call.key, field=call.field) from None
