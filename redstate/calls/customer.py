"""Calls on a customer's record: profile, conversations (each merged once), history."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from redstate import _keys, _scripts
from redstate._call import Mutation, Query, Read, version_of
from redstate._codec import Codec
from redstate.calls.commit import Commit
from redstate.calls.functions import checked_function
from redstate.calls.image import Image
from redstate.calls.moments import moment
from redstate.calls.record import DELETED_WINDOW_MS, Snapshot, corrupt_field, one_field, snapshot_of, version_number
from redstate.calls.state import checked_mapping, everything
from redstate.errors import InvalidField, InvalidInput, WrongType

_NOTE = _scripts.load("customer_note")
_ERASE = _scripts.load("customer_erase")

MOST_CONVERSATIONS = 1_000
MOST_EVENTS = 200
# Both lists travel with each read of the whole customer, so long ids and large events shorten them.
_MOST_LINK_BYTES = 128 * 1024
_MOST_HISTORY_BYTES = 64 * 1024
_LINK = re.compile(rb"(\d{16})(\d{16})(\d{4})")
_EVENT = re.compile(rb"(\d{16})(\d{10})")
_LINKS, _ERASED = _keys.LINKS.encode(), _keys.ENDED.encode()
_COUNT = 6  # digits before the first event: how many there are

Updates = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
"""What a merge changes: fields by name, or what makes them of the profile."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a conversation's life, which is merged into its customer's profile once.

    Attributes:
        since: when it began, in microseconds of the server's clock; 0 where that is not known.
        until: when it ended; where it has not, when it was changed last.
    """

    since: int
    until: int


Carry = Callable[[dict[str, Any], datetime | None], Mapping[str, Any]]
"""What a conversation that ended changes in the profile, of the profile as it is, and of when it was merged before."""


@dataclass(frozen=True, slots=True)
class CustomerConversation:
    """A conversation of a customer.

    Attributes:
        id: as given.
        linked_at: when it was linked, server time, UTC.
        ended_at: when it had ended that was merged, or was merged by hand; None until then.
    """

    id: str
    linked_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class CustomerEvent:
    """Something that happened to a customer.

    Attributes:
        at: when, server time, UTC.
        event: what.
        data: what else was given.
    """

    at: datetime
    event: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CustomerChange:
    """What became of a customer between two looks at it; several changes in quick succession can be one.

    Attributes:
        customer_id: as given.
        old_version: at the look before; 0 where there was no such customer.
        new_version: now; 0 where there is none any more.
        changed: the fields that were set or changed, with what they hold now.
        removed: the fields that went.
    """

    customer_id: str
    old_version: int
    new_version: int
    changed: dict[str, Any]
    removed: tuple[str, ...]


class CustomerWatch:
    """A callback for the changes of a customer. Obtained by ``customer.on_change(callback)``; a context manager.

    Attributes:
        customer_id: whose changes.
        callback: what is called with each :class:`CustomerChange`.
    """

    __slots__ = ("_close", "_codec", "callback", "customer_id", "seen")

    def __init__(
        self,
        customer_id: str,
        codec: Codec,
        callback: Callable[[CustomerChange], Any],
        seen: Image,
        close: Callable[[CustomerWatch], None],
    ) -> None:
        self.customer_id = customer_id
        self.callback = callback
        # The customer as the callback knows it.
        self.seen = seen
        self._codec = codec
        self._close = close

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.customer_id!r}>"

    def close(self) -> None:
        """Call no more. Closing twice is harmless."""
        self._close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class WholeCustomer:
    """The whole record at one version.

    Attributes:
        snapshot: its fields, still encoded.
        links: its list of conversations, still packed.
        erased: when it was erased, sixteen digits and a word; not known of a copy in memory.
    """

    snapshot: Snapshot
    links: bytes | None
    erased: bytes | None = None


def whole(key: str) -> Read[WholeCustomer]:
    """The whole record in one atomic read."""

    def answer(reply: list[bytes]) -> tuple[int, WholeCustomer]:
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        found = WholeCustomer(snapshot_of(key, fields), fields.get(_LINKS), fields.get(_ERASED))
        return version_number(fields.get(b"v")), found

    return Read(
        key, ("HGETALL", key), answer, lambda image, now: WholeCustomer(image.snapshot(key), image.fields.get(_LINKS))
    )


def change(codec: Codec, key: str, watch: CustomerWatch, now: Image) -> CustomerChange | None:
    """What to tell a watch of, which has seen it from here on; None where it has seen that already.

    Raises:
        CorruptState, UnknownType: a field cannot be read.
    """
    seen = watch.seen
    # One that expired has no version; any other with a lower one is from a look that was overtaken.
    if now.version == seen.version or 0 != now.version < seen.version:
        return None
    old, new = seen.snapshot(key), now.snapshot(key)
    fresh = {name: raw for name, raw in new.state.items() if not _same(codec, key, name, old.state.get(name), raw)}
    changed = everything(codec, key, new.with_state(fresh))
    watch.seen = now
    removed = tuple(name for name in old.state if name not in new.state)
    return CustomerChange(watch.customer_id, old.version, new.version, changed, removed)


def _same(codec: Codec, key: str, name: str, old: bytes | None, new: bytes) -> bool:
    """Whether a field holds what it did, perhaps encrypted anew."""
    if old is None or old == new:
        return old == new
    before, now = (codec.plain(raw, key=key, field=_keys.STATE + name) for raw in (old, new))
    return before == now


def checked_callback(callback: Any, awaited: bool) -> None:
    """Refuses what the store's colour cannot call.

    Raises:
        InvalidInput: it is no function, or a coroutine function in a blocking store.
    """
    checked_function("A callback of on_change", callback, awaited)


def conversations(key: str, limit: int) -> Read[list[CustomerConversation]]:
    """The conversations, newest first."""
    checked_limit(limit)
    return one_field(key, _keys.LINKS, lambda raw: newest(key, raw, limit))


def newest(key: str, links: bytes | None, limit: int) -> list[CustomerConversation]:
    """The last conversations of a packed list, newest first."""
    found = list(_unpack(key, links).items())[-limit:]
    return [
        CustomerConversation(name, moment(linked), moment(ended) if ended else None)
        for name, (linked, ended) in reversed(found)
    ]


def context(codec: Codec, key: str, customer: WholeCustomer, limit: int) -> dict[str, Any]:
    """Profile and last conversations as plain data; a field of the name "conversations" comes before the list."""
    last = [
        {"id": found.id, "linked_at": found.linked_at, "ended_at": found.ended_at}
        for found in newest(key, customer.links, limit)
    ]
    return {"conversations": last, **everything(codec, key, customer.snapshot)}


def link(codec: Codec, key: str, conversation_id: str, customer: WholeCustomer, now: int) -> Mutation[int] | None:
    """Put a conversation on the list, if nobody else changes that meanwhile; None where it is there."""
    _keys.check_id(conversation_id, "conversation id")
    links = _unpack(key, customer.links)
    if conversation_id in links:
        return None
    links[conversation_id] = (now, 0)
    return _relinked(customer.links, links).call(codec.limits, key)


def merge(
    codec: Codec, key: str, conversation_id: str, updates: Updates | None, customer: WholeCustomer, now: int
) -> Mutation[int] | None:
    """Mark a conversation as merged, if nobody else changes its mark meanwhile; None where it is marked.

    Args:
        codec: encodes the fields.
        key: the record.
        conversation_id: the conversation that has ended.
        updates: what else changes; a function of the profile must be sent on the condition that its version stands.
        customer: the record as it was read.
        now: the server's time in microseconds.
    """
    if _merged_at(key, conversation_id, customer):
        return None
    if updates is None:
        updates = {}
    elif callable(updates):
        updates = updates(everything(codec, key, customer.snapshot))
    return _merge(codec, key, conversation_id, updates, customer, now, now)


def merge_span(
    codec: Codec, key: str, conversation_id: str, span: Span, carry: Carry | None, customer: WholeCustomer, now: int
) -> Mutation[int] | None:
    """As ``merge``, of a part of a conversation's life; None also where the customer was erased after that."""
    merged = _merged_at(key, conversation_id, customer)
    # (Sixteen digits compare as numbers do.)
    erased = customer.erased is not None and customer.erased[:16] >= b"%016d" % span.until
    if erased or (merged and merged >= span.since):
        return None
    profile = {} if carry is None else everything(codec, key, customer.snapshot)
    updates = {} if carry is None else carry(profile, moment(merged) if merged else None)
    # The mark is the end of what is merged: what was resumed meanwhile has changed since, and is merged again.
    return _merge(codec, key, conversation_id, updates, customer, now, max(span.until, span.since))


def _merged_at(key: str, conversation_id: str, customer: WholeCustomer) -> int:
    _keys.check_id(conversation_id, "conversation id")
    return _unpack(key, customer.links).get(conversation_id, (0, 0))[1]


def _merge(
    codec: Codec,
    key: str,
    conversation_id: str,
    updates: Mapping[str, Any],
    customer: WholeCustomer,
    now: int,
    mark: int,
) -> Mutation[int]:
    links = _unpack(key, customer.links)
    links[conversation_id] = (links.get(conversation_id, (now, 0))[0], mark)
    # A conversation leaves for the archive when this is done, and a full server has room again.
    commit = _relinked(customer.links, links).expect(_keys.ENDED, customer.erased).anyhow()
    own = {"last_conversation": conversation_id, "last_interaction": moment(now)}
    for name, value in {**checked_mapping(updates), **own}.items():
        commit.set(_keys.state_field(name), codec.encode(value, name))
    return commit.call(codec.limits, key)


def erase(key: str) -> Query[bool]:
    """Take everything out of the record, for good. Returns whether there was one."""
    words = (*_ERASE.evalsha, key, str(DELETED_WINDOW_MS))
    return Query(key, words, lambda reply: reply == b"1", script=_ERASE)


def append_capped(codec: Codec, key: str, name: str, item: Any, cap: int, raw: bytes | None) -> Mutation[int]:
    """Append to a list and keep its newest items, if the field still is what was read. Returns the new version.

    Raises:
        WrongType: the field holds no list.
    """
    field = _keys.state_field(name)
    if type(cap) is not int or cap < 1:
        raise InvalidInput("cap is no number of items", next_step="Pass an int from 1")
    items = [] if raw is None else codec.decode(raw, key=key, field=field)
    if type(items) is not list:
        raise WrongType(f"Field {name!r} of {key} does not hold a list", key=key, field=name)
    kept = [*items, item][-cap:]
    return Commit().expect(field, raw).set(field, codec.encode(kept, name)).call(codec.limits, key)


def note(codec: Codec, key: str, event: str, data: Mapping[str, Any]) -> Mutation[int]:
    """Append an event to the history. Returns the new version."""
    if type(event) is not str or not event or len(event) > _keys.MAX_FIELD_BYTES:
        raise InvalidField("The event has no usable name", next_step="Pass a str of 1 to 256 characters")
    encoded = codec.encode([event, dict(data)], event, field=_keys.HISTORY)
    return Mutation(_NOTE, key, (str(MOST_EVENTS), str(_MOST_HISTORY_BYTES), encoded), version_of, _keys.HISTORY)


def history(codec: Codec, key: str, limit: int) -> Read[list[CustomerEvent]]:
    """The history, newest first."""
    checked_limit(limit)

    def parse(raw: bytes | None) -> list[CustomerEvent]:
        return [_event(codec, key, at, encoded) for at, encoded in reversed(_events(key, raw)[-limit:])]

    return one_field(key, _keys.HISTORY, parse)


def rewritten_history(key: str, raw: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    """The history with other bytes for each event.

    Raises:
        CorruptState: it holds bytes that redstate did not write.
    """
    events = [(at, rewrite(encoded)) for at, encoded in _events(key, raw)]
    return raw[:_COUNT] + b"".join(b"%016d%010d%b" % (at, len(encoded), encoded) for at, encoded in events)


def checked_limit(limit: int) -> int:
    """The number of entries to return, if it is one.

    Raises:
        InvalidInput: it is no positive int.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidInput("limit is no number of entries", next_step="Pass an int from 1")
    return limit


def _relinked(seen: bytes | None, links: dict[str, tuple[int, int]]) -> Commit:
    return Commit().expect(_keys.LINKS, seen).set(_keys.LINKS, _pack(links))


def _pack(links: dict[str, tuple[int, int]]) -> bytes:
    """The newest that fit, oldest first: when linked and when merged (sixteen digits each), size (four digits), id."""
    entries: list[bytes] = []
    room = _MOST_LINK_BYTES
    for name, (linked, ended) in list(reversed(links.items()))[:MOST_CONVERSATIONS]:
        raw = name.encode()
        entries.append(b"%016d%016d%04d%b" % (linked, ended, len(raw), raw))
        room -= len(entries[-1])
        if room < 0:
            entries.pop()
            break
    return b"".join(reversed(entries))


def _unpack(key: str, raw: bytes | None) -> dict[str, tuple[int, int]]:
    """When each conversation was linked and when it was merged (0: not yet), by id, oldest first."""
    links: dict[str, tuple[int, int]] = {}
    for (linked, ended), name in _entries(key, _keys.LINKS, raw or b"", _LINK):
        try:
            links[name.decode("utf-8")] = (linked, ended)
        except UnicodeDecodeError:
            raise corrupt_field(key, _keys.LINKS) from None
    return links


def _events(key: str, raw: bytes | None) -> list[tuple[int, bytes]]:
    """When each event was, and the event, encoded; oldest first."""
    if raw is None:
        return []
    events = [(at, encoded) for (at,), encoded in _entries(key, _keys.HISTORY, raw[_COUNT:], _EVENT)]
    if raw[:_COUNT] != b"%0*d" % (_COUNT, len(events)):
        raise corrupt_field(key, _keys.HISTORY)
    return events


def _event(codec: Codec, key: str, at: int, encoded: bytes) -> CustomerEvent:
    match codec.decode(encoded, key=key, field=_keys.HISTORY):
        case [str(event), dict(data)]:
            return CustomerEvent(moment(at), event, data)
    raise corrupt_field(key, _keys.HISTORY)


def _entries(key: str, field: str, raw: bytes, head: re.Pattern[bytes]) -> Iterator[tuple[list[int], bytes]]:
    """The entries of a packed list: the numbers of each head, whose last is the size of what follows, and that."""
    at = 0
    while at < len(raw):
        found = head.match(raw, at)
        if found is None:
            raise corrupt_field(key, field)
        *numbers, size = map(int, found.groups())
        start, at = found.end(), found.end() + size
        if at > len(raw):
            raise corrupt_field(key, field)
        yield numbers, raw[start:at]
